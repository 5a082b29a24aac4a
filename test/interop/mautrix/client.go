package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ncruces/go-sqlite3/driver"
	"go.mau.fi/util/dbutil"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/attachment"
	"maunium.net/go/mautrix/crypto/cryptohelper"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

const waitFor = 30 * time.Second

type client struct {
	*mautrix.Client
	helper *cryptohelper.CryptoHelper
	db     *dbutil.Database
}

type session struct {
	UserID      id.UserID   `json:"userId"`
	DeviceID    id.DeviceID `json:"deviceId"`
	AccessToken string      `json:"accessToken"`
}

func arguments[T any](raw json.RawMessage) (T, error) {
	var parsed T
	err := json.Unmarshal(raw, &parsed)
	return parsed, err
}

type openArguments struct {
	Homeserver string    `json:"homeserver"`
	UserID     id.UserID `json:"userId"`
	Password   string    `json:"password"`
	Store      string    `json:"store"`
}

// open logs in, or goes on with the session that is in the store, and starts to sync.
func open(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[openArguments](raw)
	if err != nil {
		return nil, err
	}
	c.Client, err = mautrix.NewClient(args.Homeserver, "", "")
	if err != nil {
		return nil, err
	}
	sessionPath := filepath.Join(args.Store, "session.json")
	var known session
	if text, err := os.ReadFile(sessionPath); err == nil {
		if err = json.Unmarshal(text, &known); err != nil {
			return nil, err
		}
		c.UserID, c.DeviceID, c.AccessToken = known.UserID, known.DeviceID, known.AccessToken
	} else {
		_, err = c.Login(ctx, &mautrix.ReqLogin{
			Type:             mautrix.AuthTypePassword,
			Identifier:       mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: args.UserID.String()},
			Password:         args.Password,
			StoreCredentials: true,
		})
		if err != nil {
			return nil, err
		}
	}
	if err = c.openStore(ctx, args.Store); err != nil {
		return nil, err
	}
	text, err := json.Marshal(session{c.UserID, c.DeviceID, c.AccessToken})
	if err != nil {
		return nil, err
	}
	if err = os.WriteFile(sessionPath, text, 0o600); err != nil {
		return nil, err
	}
	go c.syncForEver(ctx)
	return map[string]any{"deviceId": c.DeviceID, "resumed": known.DeviceID != ""}, nil
}

func (c *client) openStore(ctx context.Context, store string) error {
	path := filepath.Join(store, "keys.sqlite")
	raw, err := driver.Open("file:" + path + "?_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_txlock=immediate")
	if err != nil {
		return err
	}
	raw.SetMaxOpenConns(1)
	if c.db, err = dbutil.NewWithDB(raw, "sqlite3"); err != nil {
		return err
	}
	syncer := mautrix.NewDefaultSyncer()
	syncer.FilterJSON = &mautrix.Filter{Room: &mautrix.RoomFilter{Timeline: &mautrix.FilterPart{Limit: 100}}}
	syncer.OnEvent(report)
	c.Syncer = syncer
	if c.helper, err = cryptohelper.NewCryptoHelper(c.Client, []byte("interop"), c.db); err != nil {
		return err
	}
	c.helper.DecryptErrorCallback = func(evt *event.Event, err error) {
		write(map[string]any{"event": described(evt, map[string]any{"failure": err.Error()})})
	}
	if err = c.helper.Init(ctx); err != nil {
		return err
	}
	c.Crypto = c.helper
	return nil
}

func (c *client) syncForEver(ctx context.Context) {
	for {
		if err := c.SyncWithContext(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "sync:", err)
			if errors.Is(err, mautrix.MUnknownToken) {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func report(_ context.Context, evt *event.Event) {
	if evt.Mautrix.EventSource&(event.SourceTimeline|event.SourceDecrypted) == 0 || evt.Type == event.EventEncrypted {
		return
	}
	write(map[string]any{"event": described(evt, map[string]any{
		"content":   evt.Content.Raw,
		"encrypted": evt.Mautrix.WasEncrypted,
		"trust":     evt.Mautrix.TrustState.String(),
	})})
}

func described(evt *event.Event, more map[string]any) map[string]any {
	more["eventId"] = evt.ID
	more["roomId"] = evt.RoomID
	more["sender"] = evt.Sender
	more["type"] = evt.Type.Type
	return more
}

type roomArguments struct {
	RoomID id.RoomID `json:"roomId"`
}

// join also waits until the room with its encryption has come by sync.
func join(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[roomArguments](raw)
	if err != nil {
		return nil, err
	}
	if _, err = c.JoinRoomByID(ctx, args.RoomID); err != nil {
		return nil, err
	}
	for until := time.Now().Add(waitFor); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if encrypted, err := c.StateStore.IsEncrypted(ctx, args.RoomID); err == nil && encrypted {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("%s did not come by sync as an encrypted room", args.RoomID)
}

func invite(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[struct {
		roomArguments
		userArguments
	}](raw)
	if err != nil {
		return nil, err
	}
	return c.InviteUser(ctx, args.RoomID, &mautrix.ReqInviteUser{UserID: args.UserID})
}

func leave(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[roomArguments](raw)
	if err != nil {
		return nil, err
	}
	return c.LeaveRoom(ctx, args.RoomID)
}

type sendArguments struct {
	roomArguments
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

func send(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[sendArguments](raw)
	if err != nil {
		return nil, err
	}
	var content event.Content
	if err = json.Unmarshal(args.Content, &content); err != nil {
		return nil, err
	}
	eventType := event.Type{Type: args.Type, Class: event.MessageEventType}
	if err = content.ParseRaw(eventType); err != nil {
		return nil, err
	}
	return c.post(ctx, args.RoomID, eventType, &content)
}

func (c *client) post(ctx context.Context, roomID id.RoomID, eventType event.Type, content any) (any, error) {
	sent, err := c.SendMessageEvent(ctx, roomID, eventType, content)
	if err != nil {
		return nil, err
	}
	return map[string]any{"eventId": sent.EventID}, nil
}

type fileArguments struct {
	roomArguments
	Name     string `json:"name"`
	MimeType string `json:"mimeType"`
	Base64   string `json:"base64"`
}

func sendFile(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[fileArguments](raw)
	if err != nil {
		return nil, err
	}
	plain, err := base64.StdEncoding.DecodeString(args.Base64)
	if err != nil {
		return nil, err
	}
	file := attachment.NewEncryptedFile()
	uploaded, err := c.UploadBytes(ctx, file.Encrypt(plain), "application/octet-stream")
	if err != nil {
		return nil, err
	}
	return c.post(ctx, args.RoomID, event.EventMessage, &event.MessageEventContent{
		MsgType: event.MsgFile,
		Body:    args.Name,
		Info:    &event.FileInfo{MimeType: args.MimeType, Size: len(plain)},
		File:    &event.EncryptedFileInfo{EncryptedFile: *file, URL: uploaded.ContentURI.CUString()},
	})
}

func download(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[struct {
		Content event.MessageEventContent `json:"content"`
	}](raw)
	if err != nil {
		return nil, err
	}
	uri, err := args.Content.File.URL.Parse()
	if err != nil {
		return nil, err
	}
	sealed, err := c.DownloadBytes(ctx, uri)
	if err != nil {
		return nil, err
	}
	plain, err := args.Content.File.Decrypt(sealed)
	if err != nil {
		return nil, err
	}
	return map[string]any{"base64": base64.StdEncoding.EncodeToString(plain)}, nil
}

// rotate makes the next message in the room start a Megolm session.
func rotate(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[roomArguments](raw)
	if err != nil {
		return nil, err
	}
	return nil, c.machine().CryptoStore.RemoveOutboundGroupSession(ctx, args.RoomID)
}

// decrypt tries to read an event that did not come by sync.
func decrypt(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[struct {
		Event *event.Event `json:"event"`
	}](raw)
	if err != nil {
		return nil, err
	}
	if err = args.Event.Content.ParseRaw(event.EventEncrypted); err != nil {
		return nil, err
	}
	args.Event.Type.Class = event.MessageEventType
	read, err := c.helper.Decrypt(ctx, args.Event)
	if err != nil {
		return nil, err
	}
	return map[string]any{"content": read.Content.Raw}, nil
}

type userArguments struct {
	UserID id.UserID `json:"userId"`
}

func devices(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
	args, err := arguments[userArguments](raw)
	if err != nil {
		return nil, err
	}
	fetched, err := c.machine().FetchKeys(ctx, []id.UserID{args.UserID}, true)
	if err != nil {
		return nil, err
	}
	found := []any{}
	for deviceID, device := range fetched[args.UserID] {
		trust, err := c.machine().ResolveTrustContext(ctx, device)
		if err != nil {
			return nil, err
		}
		found = append(found, map[string]any{"deviceId": deviceID, "trust": trust.String()})
	}
	return found, nil
}

// wipeSessions forgets all Olm sessions, as a client with a damaged store does.
func wipeSessions(ctx context.Context, c *client, _ json.RawMessage) (any, error) {
	// A client keeps sessions in memory, too: only a restart forgets those.
	_, err := c.db.Exec(ctx, "DELETE FROM crypto_olm_session")
	return nil, err
}

func (c *client) machine() *crypto.OlmMachine {
	return c.helper.Machine()
}
