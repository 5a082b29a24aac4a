import { randomBytes } from 'node:crypto';

import { path, RawHttp, type Json } from './raw-http.js';
import type { HomeserverTarget } from './target.js';
import { logIn, TestUser } from './test-user.js';

/** Gives each test of the suite an admin and its own users on the homeserver under test. */
export class World {
  readonly target: HomeserverTarget;
  readonly admin: RawHttp;
  readonly anonymous: RawHttp;

  constructor(target: HomeserverTarget) {
    this.target = target;
    this.admin = new RawHttp(target, target.admin.accessToken);
    this.anonymous = new RawHttp(target);
  }

  newUsername(): string {
    return `u${randomBytes(6).toString('hex')}`;
  }

  userId(username: string): string {
    return `@${username}:${this.target.serverName}`;
  }

  adminUserUrl(userId: string): string {
    return path`/_synapse/admin/v2/users/${userId}`;
  }

  /** Creates an account with the admin API and logs it in. */
  async newUser(account: Json = {}): Promise<TestUser> {
    const userId = this.userId(this.newUsername());
    const password = randomBytes(12).toString('base64url');
    const created = await this.admin.put(this.adminUserUrl(userId), { password, ...account });
    if (created.status !== 201) {
      throw new Error(`creating a user failed: ${created.status} ${JSON.stringify(created.body)}`);
    }
    const { body } = await logIn(this.target, userId, password);
    return new TestUser(new RawHttp(this.target, body.access_token), userId, password, body.device_id);
  }

  newUsers<Users extends TestUser[] = [TestUser, TestUser]>(count: Users['length'] = 2): Promise<Users> {
    return Promise.all(Array.from({ length: count }, () => this.newUser())) as Promise<Users>;
  }
}
