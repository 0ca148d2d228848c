"""The guards of chunks: ``tests/test_server_chunking.py`` fails without each of them."""

from tests.guards import Guard

MODULE = "tests.test_server_chunking"
PROTOCOL = "smtpforward/server/protocol.py"
CONVERSATION = "smtpforward/server/conversation.py"
CHUNKING = "smtpforward/server/chunking.py"
CHUNKS = "smtpforward/server/chunks.py"

TIMED = "            self._watch.arm(self._data_patience)\n"


def _guard(test: str, file: str, before: str, after: str = "") -> Guard:
    return Guard(f"{MODULE}.{test}", file, before, after)


GUARDS = [
    _guard(
        "RefusedChunkTests.test_out_of_order",
        CHUNKS,
        "        octets = data[: self.left]\n",
        '        octets, self.left = (data, self.left) if self.arrival else (b"", 0)\n',
    ),
    _guard(
        "RefusedChunkTests.test_never_without_its_middle",
        CHUNKS,
        "        self.chunk = chunk\n",
        "        self.chunk = chunk\n        self.refusal = None\n",
    ),
    _guard(
        "RefusedChunkTests.test_a_recipient_after_the_first_chunk",
        PROTOCOL,
        "        if self._chunks is not None:\n            self._reply(answers.CHUNKS_BEGUN)\n"
        "            return\n",
    ),
    _guard(
        "RefusedChunkTests.test_not_mixed_with_data",
        PROTOCOL,
        "        elif self._chunks is not None:\n",
        "        elif False:\n",
    ),
    _guard(
        "RefusedChunkTests.test_no_size",
        CHUNKING,
        "            self._cut_off(chunk)\n",
        "            self._reply(chunk)\n",
    ),
    _guard(
        "RefusedChunkTests.test_hopeless",
        CHUNKING,
        "        if chunks.hopeless:\n",
        "        if False:\n",
    ),
    _guard(
        "RefusedChunkTests.test_bare_newlines",
        CHUNKS,
        '        self._check_newlines(b"", final=True)\n',
    ),
    _guard(
        "RefusedChunkTests.test_many_pipelined_chunks",
        CHUNKING,
        "            self._send(reply)\n",
        "            self._reply(reply)\n",
    ),
    _guard(
        "ChunkTests.test_a_missing_line_end_does_not_swallow_the_final_dot",
        CHUNKS,
        '        return b"" if self._seam.endswith(b"\\n") else CRLF\n',
        '        return b""\n',
    ),
    _guard(
        "ChunkTests.test_an_end_of_data_is_content",
        CHUNKS,
        "    form = Form.PLAIN\n",
        "    form = Form.WIRE\n",
    ),
    _guard(
        "ChunkTests.test_a_session_that_waits",
        CHUNKING,
        "        if self._paused:\n            self._bound_unread(len(self._unread))\n",
    ),
    _guard(
        "ChunkTests.test_silence_in_a_chunk",
        CONVERSATION,
        TIMED + "            self._chunk_received(data)\n",
        "            self._chunk_received(data)\n",
    ),
]
