"""What a call for an answer looks like, to whoever asks and whoever answers; no sockets, no clock.

`names` has the names that calls carry, `answer` what comes of them, `chat` the form of OpenAI's chat completions, `chat_stream` and
`sse` read them as they come, `relay` has the form between relays.
"""
