"""A person at a Matrix client that nobody here wrote (matrix-nio), told what to do line by line.

Usage: person.py, with one JSON object on the first line of stdin: {"url", "user_id", "password"}.
Then each line is a command, answered by one line of JSON:
  {"do": "room", "invite": USER}     makes a room, invites, waits until they joined -> {"room"}
  {"do": "say", "room", "text"}      sends a message -> {"event_id"}
  {"do": "read", "room"}             everything said in the room so far, oldest first
                                     -> {"messages": [{"event_id", "sender", "body", "replies_to",
                                         "at_ms", "formatted"}]}
  {"do": "typing", "room", "seconds"}  who is typing within that time -> {"users"}
"""

import asyncio
import json
import sys
import time

from nio import (
    AsyncClient,
    AsyncClientConfig,
    JoinedMembersResponse,
    LoginResponse,
    MessageDirection,
    RoomCreateResponse,
    RoomMessage,
    RoomMessagesResponse,
    RoomSendResponse,
    SyncResponse,
    TypingNoticeEvent,
)

JOINED_WITHIN_SECONDS = 60


def expect(response, kind):
    if not isinstance(response, kind):
        raise RuntimeError(f"{kind.__name__} was expected, not: {response}")
    return response


async def make_room(client, command):
    invited = command["invite"]
    made = await client.room_create(name="A room", invite=[invited], is_direct=True)
    room = expect(made, RoomCreateResponse).room_id
    ends = time.monotonic() + JOINED_WITHIN_SECONDS
    while time.monotonic() < ends:
        members = expect(await client.joined_members(room), JoinedMembersResponse).members
        if invited in [member.user_id for member in members]:
            return {"room": room}
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{invited} has not joined within {JOINED_WITHIN_SECONDS} s")


async def say(client, command):
    content = {"msgtype": "m.text", "body": command["text"]}
    # Ignores nothing: nio itself waits and repeats where the server answers 429.
    sent = await client.room_send(command["room"], "m.room.message", content)
    return {"event_id": expect(sent, RoomSendResponse).event_id}


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


DO = {"room": make_room, "say": say, "read": read, "typing": typing}


async def main():
    lines = asyncio.StreamReader()
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
