import { Injectable, UnauthorizedException } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import { Tenants } from '../tenants/tenants.js';
import { Users } from './users.js';
import type { User } from './users.js';

/** What your sign-in service writes into its tokens. */
interface TokenPayload {
  readonly tenant: string;
  /** The username. */
  readonly sub: string;
}

@Injectable()
export class SignIn {
  constructor(
    private readonly jwt: JwtService,
    private readonly tenants: Tenants,
    private readonly users: Users,
  ) {}

  /** The user whom a token of the application identifies. Matrix tokens never leave this service. */
  async userOf(token: string): Promise<User> {
    const payload = await this.jwt.verifyAsync<TokenPayload>(token).catch(() => undefined);
    if (!payload || !this.tenants.has(payload.tenant)) throw new UnauthorizedException();
    const [user] = await this.users.find(payload.tenant, [payload.sub]);
    if (!user) throw new UnauthorizedException();
    this.users.noteSeen(user);
    return user;
  }
}
