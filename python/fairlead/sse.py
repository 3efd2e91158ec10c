"""Server-sent events, decoded as the WHATWG's text says and as fast as the gateway itself does it.

    decoder = Decoder()
    for piece in response:                  # bytes, cut anywhere
        for event in decoder.feed(piece):
            handle(event.data)
    for event in decoder.finish():          # a provider that closes without its last blank line
        handle(event.data)

Lines may end with LF, CRLF or CR, mixed; comments and unknown fields are skipped; bytes that are not UTF-8 become U+FFFD. `feed` and
`finish` release the GIL while they work, and a decoder may be used from several threads: one waits for the other.
"""

from fairlead._native import Decoder, Event

__all__ = ["Decoder", "Event"]
