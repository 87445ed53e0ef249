"""A person at a Matrix client that nobody here wrote (matrix-nio), told what to do line by line.

Usage: person.py, with one JSON object on the first line of stdin: {"url", "user_id", "password"}.
Then each line is a command, answered by one line of JSON:
  {"do": "room", "invite": [USER]}   makes a room, invites, waits until they joined -> {"room"}
  {"do": "join"}                     accepts the first invitation that comes -> {"room"}
  {"do": "say", "room", "text", "mentions": [USER]}  sends a message -> {"event_id"}
  {"do": "edit", "room", "event_id", "text"}         says another text instead -> {"event_id"}
  {"do": "take_back", "room", "event_id"}            redacts -> {}
  {"do": "react", "room", "event_id", "key"}         -> {"event_id"}
  {"do": "send_file", "room", "name", "media_type", "base64", "caption"}  uploads, shows
                                     -> {"event_id"}
  {"do": "fetch", "url"}             the bytes of a file -> {"base64"}
  {"do": "read", "room"}             everything said in the room so far, oldest first
                                     -> {"messages": [{"event_id", "sender", "body", "replies_to",
                                         "at_ms", "formatted", "kind", "name", "url"}]}
  {"do": "typing", "room", "seconds"}  who is typing within that time -> {"users"}
"""

import asyncio
import base64
import io
import json
import sys
import time

from nio import (
    AsyncClient,
    AsyncClientConfig,
    JoinedMembersResponse,
    JoinResponse,
    LoginResponse,
    MemoryDownloadResponse,
    MessageDirection,
    RoomCreateResponse,
    RoomMessage,
    RoomMessagesResponse,
    RoomRedactResponse,
    RoomSendResponse,
    SyncResponse,
    TypingNoticeEvent,
    UploadResponse,
)

JOINED_WITHIN_SECONDS = 60


def expect(response, kind):
    if not isinstance(response, kind):
        raise RuntimeError(f"{kind.__name__} was expected, not: {response}")
    return response


async def make_room(client, command):
    invited = set(command["invite"])
    made = await client.room_create(name="A room", invite=list(invited), is_direct=True)
    room = expect(made, RoomCreateResponse).room_id
    ends = time.monotonic() + JOINED_WITHIN_SECONDS
    while time.monotonic() < ends:
        members = expect(await client.joined_members(room), JoinedMembersResponse).members
        if invited <= {member.user_id for member in members}:
            return {"room": room}
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{invited} have not joined within {JOINED_WITHIN_SECONDS} s")


async def join(client, command):
    ends = time.monotonic() + JOINED_WITHIN_SECONDS
    while time.monotonic() < ends:
        expect(await client.sync(timeout=250), SyncResponse)
        for room in client.invited_rooms:
            return {"room": expect(await client.join(room), JoinResponse).room_id}
    raise RuntimeError(f"nobody invited within {JOINED_WITHIN_SECONDS} s")


async def send(client, command, content, kind="m.room.message"):
    # Ignores nothing: nio itself waits and repeats where the server answers 429.
    sent = await client.room_send(command["room"], kind, content)
    return {"event_id": expect(sent, RoomSendResponse).event_id}


async def say(client, command):
    content = {"msgtype": "m.text", "body": command["text"]}
    if command["mentions"]:
        content["m.mentions"] = {"user_ids": command["mentions"]}
    return await send(client, command, content)


async def edit(client, command):
    new = {"msgtype": "m.text", "body": command["text"]}
    relation = {"rel_type": "m.replace", "event_id": command["event_id"]}
    old = {"msgtype": "m.text", "body": "* " + command["text"]}
    return await send(client, command, {**old, "m.new_content": new, "m.relates_to": relation})


async def take_back(client, command):
    expect(await client.room_redact(command["room"], command["event_id"]), RoomRedactResponse)
    return {}


async def react(client, command):
    event_id, key = command["event_id"], command["key"]
    relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
    return await send(client, command, {"m.relates_to": relation}, "m.reaction")


async def send_file(client, command):
    data, media_type = base64.b64decode(command["base64"]), command["media_type"]
    uploaded, _ = await client.upload(
        lambda *_: io.BytesIO(data), media_type, command["name"], filesize=len(data)
    )
    kind = media_type.split("/")[0]
    content = {
        "msgtype": f"m.{kind}" if kind in ("image", "audio", "video") else "m.file",
        "body": command["caption"] or command["name"],
        "filename": command["name"],
        "url": expect(uploaded, UploadResponse).content_uri,
        "info": {"mimetype": media_type, "size": len(data)},
    }
    return await send(client, command, content)


async def fetch(client, command):
    fetched = expect(await client.download(command["url"]), MemoryDownloadResponse)
    return {"base64": base64.b64encode(fetched.body).decode()}


def shown(event):
    content = event.source["content"]
    relates = content.get("m.relates_to", {}).get("m.in_reply_to", {})
    return {
        "event_id": event.event_id,
        "sender": event.sender,
        "body": content.get("body"),
        "replies_to": relates.get("event_id"),
        "formatted": content.get("formatted_body"),
        "at_ms": event.server_timestamp,
        "kind": content.get("msgtype"),
        "name": content.get("filename"),
        "url": content.get("url"),
    }


async def read(client, command):
    messages, start = [], None
    while True:
        page = await client.room_messages(
            command["room"], start, direction=MessageDirection.front, limit=500
        )
        page = expect(page, RoomMessagesResponse)
        messages += [shown(event) for event in page.chunk if isinstance(event, RoomMessage)]
        if not page.end or page.end == start:
            return {"messages": messages}
        start = page.end


async def typing(client, command):
    users, ends = set(), time.monotonic() + command["seconds"]
    while time.monotonic() < ends:
        expect(await client.sync(timeout=250), SyncResponse)
        room = client.rooms.get(command["room"])
        users |= set(room.typing_users if room else [])
    return {"users": sorted(users)}


DO = {
    "room": make_room,
    "join": join,
    "say": say,
    "edit": edit,
    "take_back": take_back,
    "react": react,
    "send_file": send_file,
    "fetch": fetch,
    "read": read,
    "typing": typing,
}


async def main():
    # A file comes in one line.
    lines = asyncio.StreamReader(limit=16 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    start = json.loads(await lines.readline())
    client = AsyncClient(start["url"], start["user_id"], config=AsyncClientConfig())
    client.add_ephemeral_callback(lambda *_: None, TypingNoticeEvent)
    try:
        expect(await client.login(start["password"]), LoginResponse)
        print(json.dumps({"user_id": client.user_id}), flush=True)
        while line := await lines.readline():
            command = json.loads(line)
            answer = await DO[command["do"]](client, command)
            print(json.dumps(answer), flush=True)
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
