"""What runs in the pod: a playlist and its segments, one note each. `Guard` lets in whose URL is signed."""

import io
import math
import os
import struct
import wave

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from atlas_session.guard import Guard

RATE, SECONDS = 16_000, 0.4
NOTES = [330, 330, 349, 392, 392, 349, 330, 294]  # hertz


async def playlist(request: Request) -> Response:
    rows = [f"#EXTINF:{SECONDS},\nnote-{number}.wav" for number in range(len(NOTES))]
    head = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-PLAYLIST-TYPE:VOD"]
    text = "\n".join([*head, *rows, "#EXT-X-ENDLIST", ""])
    return PlainTextResponse(text, media_type="application/vnd.apple.mpegurl")


async def note(request: Request) -> Response:
    number = request.path_params["number"]
    if number >= len(NOTES):
        return PlainTextResponse("no such note\n", 404)
    return Response(sound(NOTES[number]), media_type="audio/wav")


def sound(hertz: int) -> bytes:
    """A note that swells and fades, as a WAV file."""
    count = int(RATE * SECONDS)
    samples = [
        int(9_000 * math.sin(math.pi * at / count) * math.sin(2 * math.pi * hertz * at / RATE)) for at in range(count)
    ]
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(RATE)
        made.writeframes(struct.pack(f"<{count}h", *samples))
    return file.getvalue()


melody = Starlette(routes=[Route("/hls/melody.m3u8", playlist), Route("/hls/note-{number:int}.wav", note)])
uvicorn.run(Guard(melody), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
