"""A Matrix client on matrix-nio that a test drives over standard input and output.

A line in is {"id", "command", ...arguments}; a line out is {"id", "result"} or {"id", "error"}, or {"event"} for an
event of a timeline. The same protocol is spoken by ../mautrix and ../support/own-process.ts.
"""

import asyncio
import base64
import io
import json
import os
import sqlite3
import sys

from nio import AsyncClient, AsyncClientConfig, Event, KeyVerificationCancel, MegolmEvent
from nio.crypto.attachments import decrypt_attachment

FILTER = {"room": {"timeline": {"limit": 100}}}
WAIT_FOR_S = 30


def write(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def checked(response):
    """The response of a request. Raises for an error response, which nio returns like any other."""
    if type(response).__name__.endswith("Error"):
        raise RuntimeError(str(response))
    return response


class Client:
    def __init__(self):
        self.nio = None
        self.store = None
        self.syncing = None
        self.unread = {}
        self.cancelled = {}

    async def open(self, homeserver, userId, password, store):
        """Logs in, or goes on with the session that is in the store, and starts to sync."""
        self.store = store
        config = AsyncClientConfig(store_sync_tokens=True, encryption_enabled=True, pickle_key="interop")
        self.nio = AsyncClient(homeserver, userId, store_path=store, config=config)
        path = os.path.join(store, "session.json")
        resumed = os.path.exists(path)
        if resumed:
            with open(path) as file:
                session = json.load(file)
            self.nio.restore_login(userId, session["deviceId"], session["accessToken"])
        else:
            checked(await self.nio.login(password))
            with open(path, "w") as file:
                json.dump({"deviceId": self.nio.device_id, "accessToken": self.nio.access_token}, file)
        if self.nio.should_upload_keys:
            checked(await self.nio.keys_upload())
        self.nio.add_event_callback(self.report, (Event,))
        self.nio.add_response_callback(self.read_again)
        self.nio.add_to_device_callback(self.note_cancel, (KeyVerificationCancel,))
        self.syncing = asyncio.create_task(self.sync_for_ever())
        # Before its first sync, nio knows no room.
        await asyncio.wait_for(self.nio.synced.wait(), WAIT_FOR_S)
        return {"deviceId": self.nio.device_id, "resumed": resumed}

    async def sync_for_ever(self):
        while True:
            try:
                await self.nio.sync_forever(timeout=10_000, full_state=True, sync_filter=FILTER)
            except Exception as error:
                print(f"sync: {error!r}", file=sys.stderr, flush=True)
                await asyncio.sleep(0.1)

    def note_cancel(self, event):
        """nio forgets a verification that the other side cancels."""
        self.cancelled[event.transaction_id] = event

    def report(self, room, event):
        if isinstance(event, MegolmEvent):
            self.unread[event.event_id] = (room.room_id, event)
            self.describe(room.room_id, event, {"failure": f"no key of session {event.session_id}"})
        else:
            self.describe(room.room_id, event, {"content": event.source["content"], "encrypted": event.decrypted})

    async def read_again(self, _response):
        """nio does not come back to events whose key comes after them."""
        for event_id, (room_id, event) in list(self.unread.items()):
            try:
                read = self.nio.decrypt_event(event)
            except Exception:
                continue
            del self.unread[event_id]
            self.describe(room_id, read, {"content": read.source["content"], "encrypted": True})

    def describe(self, room_id, event, more):
        shown = {"eventId": event.event_id, "roomId": room_id, "sender": event.sender}
        write({"event": {**shown, "type": event.source["type"], **more}})

    async def join(self, roomId):
        """Also waits until the room with its encryption has come by sync."""
        checked(await self.nio.join(roomId))
        for _ in range(WAIT_FOR_S * 20):
            room = self.nio.rooms.get(roomId)
            if room is not None and room.encrypted:
                return None
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{roomId} did not come by sync as an encrypted room")

    async def invite(self, roomId, userId):
        checked(await self.nio.room_invite(roomId, userId))

    async def leave(self, roomId):
        checked(await self.nio.room_leave(roomId))

    async def send(self, roomId, type, content):
        sent = await self.nio.room_send(roomId, type, content, ignore_unverified_devices=True)
        return {"eventId": checked(sent).event_id}

    async def sendFile(self, roomId, name, mimeType, **body):
        plain = base64.b64decode(body["base64"])
        upload = self.nio.upload(io.BytesIO(plain), mimeType, name, encrypt=True, filesize=len(plain))
        response, keys = await upload
        file = {**keys, "url": checked(response).content_uri}
        info = {"mimetype": mimeType, "size": len(plain)}
        return await self.send(
            roomId, "m.room.message", {"msgtype": "m.file", "body": name, "info": info, "file": file}
        )

    async def download(self, content):
        file = content["file"]
        sealed = checked(await self.nio.download(file["url"])).body
        plain = decrypt_attachment(sealed, file["key"]["k"], file["hashes"]["sha256"], file["iv"])
        return {"base64": base64.b64encode(plain).decode()}

    async def rotate(self, roomId):
        """Makes the next message in the room start a Megolm session."""
        self.nio.invalidate_outbound_session(roomId)

    async def decrypt(self, event):
        """Tries to read an event that did not come by sync."""
        parsed = Event.parse_encrypted_event(event)
        parsed.room_id = event["room_id"]
        return {"content": self.nio.decrypt_event(parsed).source["content"]}

    async def devices(self, userId):
        self.nio.olm.add_changed_users({userId})
        checked(await self.nio.keys_query())
        found = self.nio.device_store.active_user_devices(userId)
        return [{"deviceId": device.id, "trust": device.trust_state.name} for device in found]

    async def startVerification(self, userId, deviceId):
        """Asks a device to compare emoji."""
        self.nio.olm.add_changed_users({userId})
        checked(await self.nio.keys_query())
        checked(await self.nio.start_key_verification(self.nio.device_store[userId][deviceId]))
        return next(txn for txn, sas in self.nio.key_verifications.items() if sas.other_olm_device.id == deviceId)

    async def verification(self, transactionId):
        """How far a verification has come. The emoji are there once both sides have the other's key."""
        cancelled = self.cancelled.get(transactionId)
        if cancelled is not None:
            return {"emoji": [], "verified": False, "code": cancelled.code, "reason": cancelled.reason}
        sas = self.nio.key_verifications.get(transactionId)
        if sas is None:
            return {"emoji": [], "verified": False, "code": "", "reason": ""}
        emoji = sas.get_emoji() if sas.other_key_set else []
        return {
            "emoji": [symbol for symbol, _ in emoji],
            "verified": sas.verified,
            "code": sas.cancel_code,
            "reason": sas.cancel_reason,
        }

    async def confirmVerification(self, transactionId):
        checked(await self.nio.confirm_short_auth_string(transactionId))

    async def wipeSessions(self):
        """Forgets all Olm sessions, as a client with a damaged store does."""
        self.nio.olm.session_store._entries.clear()
        for name in os.listdir(self.store):
            if name.endswith(".db"):
                with sqlite3.connect(os.path.join(self.store, name), timeout=10) as database:
                    database.execute("DELETE FROM olmsessions")


async def answer(client, line):
    request = json.loads(line)
    request_id, command = request.pop("id"), request.pop("command")
    try:
        run = getattr(client, command, None)
        if run is None or command.startswith("_"):
            raise RuntimeError(f"unknown command {command}")
        write({"id": request_id, "result": await run(**request)})
    except Exception as error:
        write({"id": request_id, "error": f"{type(error).__name__}: {error}"})


async def main():
    client = Client()
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        await answer(client, line)
    os._exit(0)  # the test is gone


asyncio.run(main())
