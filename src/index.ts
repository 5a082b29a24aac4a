/**
 * Accounts, live clients, callbacks and messages for the users of a Node backend.
 *
 * @module matrix-client-manager
 */

// The manager
export type { CallOptions } from './core/call-options.js';
export { MatrixClientManager } from './manager/matrix-client-manager.js';
export type { MatrixClientManagerOptions } from './manager/options.js';
export type { ManagerEvents } from './manager/event-hub.js';
export type {
  GetAccountDataOptions,
  GetTagsOptions,
  RemoveTagOptions,
  SetAccountDataOptions,
  SetTagOptions,
} from './account-data/account-data-options.js';
export type { IgnoreUsersOptions } from './account-data/ignored-users.js';
export type { ResetIdentityOptions } from './encryption/identity/identity-options.js';
export type { MarkReadOptions, SendReadReceiptOptions } from './ephemeral/receipt-sender.js';
export type { SendTypingOptions } from './ephemeral/typing-notifier.js';
export type { DownloadFileOptions, OutgoingFile, SendFileOptions, UploadFileOptions } from './files/file-options.js';
export type { ForgetUserOptions } from './manager/forget-user.js';
export type { Health } from './manager/health.js';
export type { ManagerStats } from './manager/gauges.js';
export type { SearchMessagesOptions } from './messages/search-messages.js';
export type { GetRoomMessagesOptions } from './messages/get-room-messages-options.js';
export type { RequestOptions } from './manager/request-options.js';
export type { PresenceState } from './core/presence-state.js';
export type { GetPresenceOptions, Presence, SetPresenceOptions } from './profiles/presence-options.js';
export type {
  GetProfileOptions,
  Profile,
  SetAvatarOptions,
  SetDisplayNameOptions,
} from './profiles/profile-options.js';
export type { ListSendsOptions } from './sending/outbox.js';
export type { RedactOptions } from './sending/redact-options.js';
export type { SendMessageOptions } from './sending/send-message-options.js';
export type { SendReactionOptions } from './sending/send-reaction-options.js';
export type { ConnectOptions } from './users/connect-options.js';
export type { StartClientOptions } from './users/start-client-options.js';
export type { Connection, ConnectionEvents, ConnectionState, ConnectionStateChange } from './users/connection.js';
export type { DeadLetter } from './manager/dead-letters.js';

// Errors
export { errorCodes, isManagerError, MatrixClientManagerError } from './core/errors.js';
export type { ErrorCode, ErrorContext } from './core/errors.js';
export { httpStatus } from './core/http-status.js';

// Accounts
export { SynapseAdminProvisioner } from './provisioning/synapse-admin-provisioner.js';
export type { SynapseAdminProvisionerOptions } from './provisioning/synapse-admin-provisioner.js';
export type {
  EnsuredUser,
  EnsureUserRequest,
  OpenSessionRequest,
  Provisioner,
  ProvisionerCapabilities,
} from './provisioning/provisioner.js';
export type { CredentialsSource, CredentialsStore } from './provisioning/application-credentials.js';
export type { OpenSessionOptions } from './provisioning/open-session-options.js';
export type { ProvisionedUser, ProvisionUserOptions } from './provisioning/provision-user-options.js';
export type { AdminAccount } from './provisioning/own-admin.js';
export type { AdminDevice, AdminUser } from './provisioning/admin-answers.js';
export type { AdminApi, DeactivateUserOptions, ListUsersOptions } from './provisioning/admin-api.js';
export type { Credentials } from './core/credentials.js';
export { normalizeUsername } from './core/ids.js';

// Clients
export type { ClientInfo, ClientState, StopReason } from './users/client-state.js';
export { activityPolicy } from './users/connection-policy.js';
export type {
  ActivityPolicyOptions,
  ConnectionMode,
  ConnectionPolicy,
  UserActivity,
} from './users/connection-policy.js';

// Callbacks and events
export type {
  CallbackContext,
  CallbackOptions,
  ClientCallback,
  ManagerCallback,
  ManagerCallbackOptions,
} from './callbacks/callback.js';
export type {
  ClientEvent,
  ClientEventType,
  InviteEvent,
  MembershipEvent,
  MessageEvent,
  PresenceEvent,
  Provenance,
  ReactionEvent,
  ReceiptEvent,
  RedactionEvent,
  StateEvent,
  TypingEvent,
  UnreadEvent,
} from './core/client-event.js';
export type { UnreadCount } from './core/unread-count.js';
export type { ListRoomsOptions, RoomSummary, RoomSummaryPage } from './users/room-list-options.js';
export type { UnreadTotals } from './users/unread-totals.js';
export type { Decryption, DecryptionFailureReason, DecryptionSender } from './core/decryption.js';
export type { Gap } from './delivery/gap-filler.js';
export type { IdentityChange } from './encryption/identity/identity-change.js';

// Messages
export type { MessagePage } from './messages/page-request.js';
export type { Redacted } from './core/redacted.js';
export { readMessageContent } from './core/message-content.js';
export type {
  AudioContent,
  EncryptedFile,
  FileContent,
  ImageContent,
  LocationContent,
  MessageContent,
  TextContent,
  VideoContent,
} from './core/message-content.js';
export type { MessageFields, MessageMentions } from './core/message-fields.js';
export type { FoundMessages } from './messages/search-messages.js';
export type { MessageReaction, RoomMessage } from './core/room-message.js';
export type { TimelineFields, TimelineKind } from './core/timeline-event.js';
export type { MessageBody } from './sending/content.js';
export type { Mentions, MessageRelations } from './sending/message-relations.js';
export type { SentMessage } from './core/withheld-keys.js';
export type { DownloadedFile, SentFile } from './files/attachments.js';
export type { FileBody } from './files/file-body.js';
export type { OutboxEntry } from './sending/outbox.js';

// Rooms
export type { Rooms } from './rooms/rooms.js';
export type { ResolvedAlias, RoomAliasOptions, SetAliasOptions } from './rooms/aliases.js';
export type { CreateRoomOptions, InitialState } from './rooms/create-room.js';
export type { DeleteRoomOptions, RoomDeletion } from './rooms/delete-room.js';
export type { DirectRoom, FindOrCreateDirectOptions } from './rooms/direct-rooms.js';
export type { EnsuredMember, EnsureMemberOptions, EnsureMembersOptions } from './rooms/ensure-members.js';
export type { RoomMember, RoomMemberPage, RoomMembersOptions } from './rooms/members.js';
export type { ChangeMemberOptions, ForgetRoomOptions, JoinRoomOptions, LeaveRoomOptions } from './rooms/memberships.js';
export type { RoomCallOptions } from './rooms/room-calls.js';
export type {
  GetAllStateOptions,
  GetStateOptions,
  RoomStateEvent,
  SetPowerLevelsOptions,
  SetStateOptions,
} from './rooms/room-state.js';
export type { UpgradeRoomOptions } from './rooms/upgrade-room.js';

// Storage
export { memoryStorage } from './storage/memory-storage.js';
export { sqliteStorage } from './storage/sqlite-storage.js';
export { storageLimits } from './storage/storage.js';
export type { CorruptionInfo, SqliteStorageOptions } from './storage/sqlite-storage-options.js';
export type { Storage } from './storage/storage.js';
export type {
  CheckpointChange,
  DeliveredPosition,
  JournalChange,
  JournalEntry,
  StoredCheckpoint,
} from './storage/checkpoint.js';
export type { StoredDeadLetter, StoredError } from './storage/storage.js';
export type { EnqueueResult, OutgoingSend, QueuedSend, SendState } from './storage/storage.js';

// Interfaces that an application can implement
export { systemClock } from './core/clock.js';
export type { Clock, TimerHandle } from './core/clock.js';
export type { Logger } from './core/logger.js';
export type { Fetch } from './core/ports/transport.js';
export type {
  HttpResponse as TransportAnswer,
  HttpHeaders as TransportHeaders,
  OpenTransport as TransportConnections,
  ConnectionPool as TransportLane,
  Transport,
  TransportRequest,
} from './core/ports/transport.js';

// Telemetry
export { diagnosticsChannels } from './telemetry/channels.js';
export type { DiagnosticsChannelName, DiagnosticsMessages } from './telemetry/channels.js';
export type { Gauges, QueueName } from './telemetry/gauges.js';
export type { DurationStats } from './telemetry/series.js';
export type { RequestStats, TelemetryStats } from './telemetry/telemetry-stats.js';
export type {
  KeyBackupFailure,
  KeyRequestResult,
  RequestResult,
  RoomKeyEvent,
  SyncKind,
} from './core/diagnostic-messages.js';

// Homeserver state and rate limits
export type { HomeserverState } from './resilience/outage-detector.js';
export type { RateLimit } from './resilience/rate-limiter.js';

// Event content
export type { EventContent } from './core/raw-event.js';

// Encryption
export type { KeysWithheld, WithheldDevice, WithheldReason } from './core/withheld-keys.js';
export type {
  BackupStatus,
  DeviceVerification,
  EncryptionStatus,
  UserVerification,
} from './encryption/encryption-status.js';
export type { EncryptionOptions } from './encryption/encryption-options.js';
export type {
  CancelVerificationOptions,
  OnVerificationRequest,
  VerificationEmoji,
  VerificationRequest,
  VerificationRequested,
  VerificationRequestInfo,
} from './encryption/verification-options.js';
export type {
  AuthUploadDeviceSigningKeys,
  RestoreProgress,
  ReceivePolicy,
  TrustPolicy,
} from './encryption/identity/identity-options.js';
