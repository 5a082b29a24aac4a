import { createParamDecorator, Injectable } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { SignIn } from './sign-in.js';
import type { User } from './users.js';

interface SignedInRequest {
  readonly headers: { readonly authorization?: string };
  user?: User;
}

/** Lets requests pass that have `Authorization: Bearer <token>`. */
@Injectable()
export class SignedInGuard implements CanActivate {
  constructor(private readonly signIn: SignIn) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<SignedInRequest>();
    request.user = await this.signIn.userOf(request.headers.authorization?.replace('Bearer ', '') ?? '');
    return true;
  }
}

/** The user who makes the request. */
export const CurrentUser = createParamDecorator((_data: unknown, context: ExecutionContext) => {
  return context.switchToHttp().getRequest<SignedInRequest>().user;
});
