import { Module } from '@nestjs/common';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { config } from './config.js';

/** The application's own tables. A larger service would use PostgreSQL here. */
@Module({
  providers: [{ provide: DatabaseSync, useFactory: openDatabase }],
  exports: [DatabaseSync],
})
export class DatabaseModule {}

function openDatabase(): DatabaseSync {
  mkdirSync(config.dataFolder, { recursive: true });
  const database = new DatabaseSync(join(config.dataFolder, 'app.db'));
  database.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS users (
      tenant TEXT NOT NULL,
      username TEXT NOT NULL,
      matrix_user_id TEXT NOT NULL UNIQUE,
      seen_at INTEGER NOT NULL,
      PRIMARY KEY (tenant, username)
    );
    CREATE TABLE IF NOT EXISTS notifications (
      id INTEGER PRIMARY KEY,
      matrix_user_id TEXT NOT NULL,
      room_id TEXT NOT NULL,
      event_id TEXT NOT NULL,
      text TEXT NOT NULL,
      UNIQUE (matrix_user_id, event_id)
    );
  `);
  return database;
}
