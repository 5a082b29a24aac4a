import { linkTo, optionsTable, uncovered } from './fields-table.js';
import { page, prose } from './markdown.js';
import type { PublicTypes } from './public-types.js';

/** Where each type of options is given, in the order of the page. */
const sections: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'The manager': {
    MatrixClientManagerOptions: '`new MatrixClientManager(options)`',
    AdminAccount: 'The option `admin`',
    CredentialsStore: 'The option `credentials`',
    EncryptionOptions: 'The option `encryption`',
    RateLimit: 'The options `rateLimit` and `adminRateLimit`',
    ActivityPolicyOptions: '`activityPolicy(options)`, for the option `connectionPolicy`',
    SqliteStorageOptions: '`sqliteStorage(options)`, for the option `storage`',
    UndiciTransportOptions: '`undiciTransport(options)` of `matrix-client-manager/undici`, for the option `transport`',
    SynapseAdminProvisionerOptions: '`new SynapseAdminProvisioner(options)`, for the option `provisioner`',
  },
  'Accounts and clients': {
    ProvisionUserOptions: '`manager.provisionUser(options)`',
    StartClientOptions: '`manager.startClient(options)`',
    ConnectOptions: '`manager.connect(options)`',
    CallbackOptions: '`manager.addCallback(userId, callback, options)`, `connection.addCallback(callback, options)`',
    SseOptions:
      '`pipeToSse(connection, response, options)` and `sseResponse(connection, options)` of `matrix-client-manager/sse`',
    ManagerCallbackOptions: '`manager.onEvent(callback, options)`, and the entries of the option `callbacks`',
    OpenSessionOptions: '`manager.openSession(options)`',
    ForgetUserOptions: '`manager.forgetUser(userId, options)`',
    ListUsersOptions: '`manager.admin.listUsers(options)`',
    DeactivateUserOptions: '`manager.admin.deactivateUser(userId, options)`',
    CallOptions:
      'The last argument of `closeSession`, `withClient`, `unreadCounts`, `encryptionStatus`, `userVerification`, `verifyUser`, of the steps of a `VerificationRequest`, and of the calls of `manager.admin`',
  },
  NestJS: {
    MatrixModuleOptions:
      '`MatrixModule.forRoot(options)` of `matrix-client-manager/nestjs`, beside those of the manager',
    MatrixModuleAsyncOptions: '`MatrixModule.forRootAsync(options)`',
    OnMatrixEventOptions: '`@OnMatrixEvent(options)`, beside those of `manager.onEvent()`',
  },
  'Messages and files': {
    GetRoomMessagesOptions: '`manager.getRoomMessages(options)`',
    SearchMessagesOptions: '`manager.searchMessages(options)`',
    SendMessageOptions: '`manager.sendMessage(options)`',
    SendReactionOptions: '`manager.sendReaction(options)`',
    RedactOptions: '`manager.redact(options)`',
    ListSendsOptions: '`manager.listSends(options)`',
    SendTypingOptions: '`manager.sendTyping(options)`',
    SendReadReceiptOptions: '`manager.sendReadReceipt(options)`',
    MarkReadOptions: '`manager.markRead(options)`',
    SendFileOptions: '`manager.sendFile(options)`',
    OutgoingFile: 'The option `file` of `manager.sendFile()`',
    DownloadFileOptions: '`manager.downloadFile(options)`',
  },
  'Profiles and account data': {
    GetProfileOptions: '`manager.getProfile(options)`',
    SetDisplayNameOptions: '`manager.setDisplayName(options)`',
    SetAvatarOptions: '`manager.setAvatar(options)`',
    UploadFileOptions: '`manager.uploadFile(options)`',
    SetPresenceOptions: '`manager.setPresence(options)`',
    GetPresenceOptions: '`manager.getPresence(options)`',
    GetAccountDataOptions: '`manager.getAccountData(options)`',
    SetAccountDataOptions: '`manager.setAccountData(options)`',
    GetTagsOptions: '`manager.getTags(options)`',
    SetTagOptions: '`manager.setTag(options)`',
    RemoveTagOptions: '`manager.removeTag(options)`',
    IgnoreUsersOptions: '`manager.ignoreUsers(options)`',
  },
  'Rooms and other requests': {
    ListRoomsOptions: '`manager.listRooms(userId, options)`',
    RoomCallOptions: 'Options that most calls of `manager.rooms` have',
    CreateRoomOptions: '`manager.rooms.create(options)`',
    InitialState: 'An item of the option `initialState` of `manager.rooms.create()`',
    JoinRoomOptions: '`manager.rooms.join(options)` and `knock(options)`',
    LeaveRoomOptions: '`manager.rooms.leave(options)`',
    ChangeMemberOptions: '`manager.rooms.invite(options)`, `kick(options)`, `ban(options)` and `unban(options)`',
    ForgetRoomOptions: '`manager.rooms.forget(options)`',
    RoomMembersOptions: '`manager.rooms.members(options)`',
    EnsureMemberOptions: '`manager.rooms.ensureMember(options)` for one user',
    EnsureMembersOptions: '`manager.rooms.ensureMember(options)` for several users',
    GetStateOptions: '`manager.rooms.getState(options)` for one state event',
    GetAllStateOptions: '`manager.rooms.getState(options)` for all state events',
    SetStateOptions: '`manager.rooms.setState(options)`',
    SetPowerLevelsOptions: '`manager.rooms.setPowerLevels(options)`',
    RoomAliasOptions: '`manager.rooms.resolveAlias(options)` and `removeAlias(options)`',
    SetAliasOptions: '`manager.rooms.setAlias(options)`',
    FindOrCreateDirectOptions: '`manager.rooms.findOrCreateDirect(options)`',
    UpgradeRoomOptions: '`manager.rooms.upgrade(options)`',
    DeleteRoomOptions: '`manager.rooms.delete(options)`',
    RequestOptions: '`manager.request(options)`',
  },
  Encryption: {
    ResetIdentityOptions: '`manager.resetIdentity(userId, options)`',
    CancelVerificationOptions: '`cancel(options)` of a `VerificationRequest`',
  },
  Testing: {
    FakeHomeserverOptions: '`new FakeHomeserver(options)` of `matrix-client-manager/testing`',
  },
};

export function optionsPage(types: PublicTypes): string {
  const covered = new Set(Object.values(sections).flatMap((group) => Object.keys(group)));
  const missing = uncovered(types, /Options$/, covered);
  if (missing.length > 0) throw new Error(`expected a section of the options page for ${missing.join(', ')}`);
  const link = linkTo(covered);
  return page(
    'Options',
    'Every set of options refuses unknown names with `INVALID_OPTIONS`. All times are in milliseconds.',
    ...Object.entries(sections).flatMap(([title, group]) => [
      `## ${title}`,
      ...Object.entries(group).flatMap(([name, where]) => [
        `### ${name}`,
        `${where}. ${prose(types.docOf(name))}`.trim(),
        optionsTable(name, types.fieldsOf(name), link),
      ]),
    ]),
  );
}
