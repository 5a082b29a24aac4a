package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/backup"
	"maunium.net/go/mautrix/crypto/signatures"
	"maunium.net/go/mautrix/crypto/ssss"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

var backupSecret = event.Type{Type: "m.megolm_backup.v1", Class: event.AccountDataEventType}

// crossSign makes cross-signing keys in new secret storage, and signs the device.
func crossSign(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[struct {
		Password string `json:"password"`
	}](raw)
	if err != nil {
		return nil, err
	}
	mach := c.machine()
	recoveryKey, _, err := mach.GenerateAndUploadCrossSigningKeysWithPassword(ctx, args.Password, "")
	if err != nil {
		return nil, err
	}
	if err = mach.SignOwnDevice(ctx, mach.OwnIdentity()); err != nil {
		return nil, err
	}
	if err = mach.SignOwnMasterKey(ctx); err != nil {
		return nil, err
	}
	return map[string]any{"recoveryKey": recoveryKey}, nil
}

// verify signs the identity of another user, without having compared it.
func verify(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[userArguments](raw)
	if err != nil {
		return nil, err
	}
	mach := c.machine()
	if _, err = mach.FetchKeys(ctx, []id.UserID{args.UserID}, true); err != nil {
		return nil, err
	}
	keys, err := mach.GetCrossSigningPublicKeys(ctx, args.UserID)
	if err != nil {
		return nil, err
	} else if keys == nil {
		return nil, fmt.Errorf("%s has no cross-signing keys", args.UserID)
	}
	return nil, mach.SignUser(ctx, args.UserID, keys.MasterKey)
}

type recoveryArguments struct {
	RecoveryKey string `json:"recoveryKey"`
}

func (c *client) storageKey(ctx context.Context, raw json.RawMessage) (*ssss.Key, error) {
	args, err := arguments[recoveryArguments](raw)
	if err != nil {
		return nil, err
	}
	keyID, data, err := c.machine().SSSS.GetDefaultKeyData(ctx)
	if err != nil {
		return nil, err
	}
	return data.VerifyRecoveryKey(keyID, args.RecoveryKey)
}

// backUp makes a key backup with all room keys in it, and puts its key into secret storage.
func backUp(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	storageKey, err := c.storageKey(ctx, raw)
	if err != nil {
		return nil, err
	}
	key, err := backup.NewMegolmBackupKey()
	if err != nil {
		return nil, err
	}
	if err = c.machine().SSSS.SetEncryptedAccountData(ctx, backupSecret, key.Bytes(), storageKey); err != nil {
		return nil, err
	}
	created, err := c.CreateKeyBackupVersion(ctx, &mautrix.ReqRoomKeysVersionCreate[backup.MegolmAuthData]{
		Algorithm: id.KeyBackupAlgorithmMegolmBackupV1,
		AuthData: backup.MegolmAuthData{
			PublicKey:  id.Ed25519(base64.RawStdEncoding.EncodeToString(key.PublicKey().Bytes())),
			Signatures: signatures.Signatures{},
		},
	})
	if err != nil {
		return nil, err
	}
	sessions, err := c.machine().CryptoStore.GetAllGroupSessions(ctx).AsList()
	if err != nil {
		return nil, err
	}
	request := &mautrix.ReqKeyBackup{Rooms: map[id.RoomID]mautrix.ReqRoomKeyBackup{}}
	for _, session := range sessions {
		entry, err := sealed(key, session)
		if err != nil {
			return nil, err
		}
		if _, known := request.Rooms[session.RoomID]; !known {
			room := mautrix.ReqRoomKeyBackup{Sessions: map[id.SessionID]mautrix.ReqKeyBackupData{}}
			request.Rooms[session.RoomID] = room
		}
		request.Rooms[session.RoomID].Sessions[session.ID()] = *entry
	}
	if _, err = c.PutKeysInBackup(ctx, created.Version, request); err != nil {
		return nil, err
	}
	return map[string]any{"version": created.Version, "count": len(sessions)}, nil
}

func sealed(key *backup.MegolmBackupKey, session *crypto.InboundGroupSession) (*mautrix.ReqKeyBackupData, error) {
	index := session.Internal.FirstKnownIndex()
	exported, err := session.Internal.Export(index)
	if err != nil {
		return nil, err
	}
	data, err := backup.EncryptSessionData(key, backup.MegolmSessionData{
		Algorithm:          id.AlgorithmMegolmV1,
		ForwardingKeyChain: []string{},
		SenderClaimedKeys:  backup.SenderClaimedKeys{Ed25519: session.SigningKey},
		SenderKey:          session.SenderKey,
		SessionKey:         string(exported),
	})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	return &mautrix.ReqKeyBackupData{FirstMessageIndex: int(index), IsVerified: true, SessionData: text}, nil
}

// recoverFrom takes cross-signing keys from secret storage, signs the device, and restores the key backup.
func recoverFrom(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[recoveryArguments](raw)
	if err != nil {
		return nil, err
	}
	if err = c.machine().VerifyWithRecoveryKey(ctx, args.RecoveryKey); err != nil {
		return nil, err
	}
	storageKey, err := c.storageKey(ctx, raw)
	if err != nil {
		return nil, err
	}
	secret, err := c.machine().SSSS.GetDecryptedAccountData(ctx, backupSecret, storageKey)
	if err != nil {
		return nil, err
	}
	key, err := backup.MegolmBackupKeyFromBytes(secret)
	if err != nil {
		return nil, err
	}
	version, err := c.machine().DownloadAndStoreLatestKeyBackup(ctx, key)
	if err != nil {
		return nil, err
	}
	return map[string]any{"version": version}, nil
}
