import { Module } from '@nestjs/common';
import { JwtModule } from '@nestjs/jwt';
import { config } from '../config.js';
import { DatabaseModule } from '../database.module.js';
import { TenantsModule } from '../tenants/tenants.module.js';
import { SignIn } from './sign-in.js';
import { Users } from './users.js';

@Module({
  imports: [DatabaseModule, TenantsModule, JwtModule.register({ secret: config.jwtSecret })],
  providers: [Users, SignIn],
  exports: [DatabaseModule, Users, SignIn],
})
export class UsersModule {}
