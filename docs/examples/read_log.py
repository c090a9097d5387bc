#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the log of a stream with nothing but docs/log-format.md: `read_log.py [--json] DIRECTORY`.

Prints each message's payload and a newline, and on standard error what is missing and why. It shows how the
format is read; bus_log.h is far faster, and follows a log that is being written.
"""
import json
import os
import re
import struct
import sys

HEADER = struct.Struct("<QII16sQQQQQQQQQ256sII")
MARK = struct.Struct("<QQQQQII")
SLOT = struct.Struct("<QQQIHBBIIQIIII")
MAGIC, MARK_MAGIC, VERSION = 0x30474F4C53554221, 0x304B52414D535542, 1
MARKS_OFF, COPY_OFF, SLOTS_OFF, AREA = 4096, 8192, 12288, 4096


def make_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


TABLE = make_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Segment:
    """One file. Raises ValueError where neither header nor copy is good."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        self.path = path
        for at in (0, COPY_OFF):
            if self.header(self.data[at : at + HEADER.size]):
                break
        else:
            raise ValueError("neither its header nor the copy is good")
        self.seed = crc32c(self.uuid)
        marks = [self.mark(MARKS_OFF + i * 512) for i in range(8)]
        self.synced = max(marks + [self.base_seq])

    def header(self, raw):
        if len(raw) < HEADER.size:
            return False
        (magic, version, features, self.uuid, self.index, self.base_seq, self.base_pos, self.prev_end,
         self.slots, self.bytes, self.payload_off, self.size, self.created, topic, _, crc) = HEADER.unpack(raw)
        if magic != MAGIC or crc32c(raw[:-4]) != crc:
            return False
        if version > VERSION or features:
            sys.exit(f"{self.path} is of a newer format")
        self.topic = topic.rstrip(b"\0").decode()
        return True

    def mark(self, at):
        raw = self.data[at : at + MARK.size]
        if len(raw) < MARK.size:
            return 0
        magic, base, seq, _, _, _, crc = MARK.unpack(raw)
        good = magic == MARK_MAGIC and base == self.base_seq and crc32c(raw[:-4], self.seed) == crc
        return seq if good and self.base_seq <= seq <= self.base_seq + self.slots else 0

    def message(self, seq):
        """(key, payload, time), or a text that says what is wrong."""
        at = SLOTS_OFF + (seq - self.base_seq) * SLOT.size
        raw = self.data[at : at + SLOT.size]
        if len(raw) < SLOT.size:
            return "the file ends before it"
        (commit, pos, time, length, head_len, key_len, version, flags, _, _, _, head_crc, body_crc,
         zero) = SLOT.unpack(raw)
        begin = self.payload_off + pos - self.base_pos
        if commit == 0 and not any(raw):
            return "it was not written"
        if commit != seq + 1 or version != 1 or key_len > head_len or zero or pos < self.base_pos:
            return "its slot is bad"
        if begin + head_len + length > self.size:
            return "its slot is bad"
        head = self.data[begin : begin + head_len]
        body = self.data[begin + head_len : begin + head_len + length]
        if len(head) + len(body) < head_len + length:
            return "the file ends before it"
        if crc32c(head, crc32c(raw[:52] + raw[56:], self.seed)) != head_crc:
            return "its slot fails the checksum"
        if crc32c(body, crc32c(raw[8:16], self.seed)) != body_crc:
            return "its payload fails the checksum"
        if flags & 0xFFFF0000:
            return "it needs a newer reader"
        return head[:key_len], body, time


def segments(directory):
    found = []
    for name in sorted(os.listdir(directory)):
        if re.fullmatch(r"\d{20}\.log", name):
            try:
                found.append(Segment(os.path.join(directory, name)))
            except (OSError, ValueError) as why:
                print(f"{name}: {why}", file=sys.stderr)
    return sorted(found, key=lambda s: s.base_seq)


def messages(directory):
    """(seq, key, payload, time); missing ones as (seq, text)."""
    files = segments(directory)
    for i, segment in enumerate(files):
        after = files[i + 1] if i + 1 < len(files) else None
        follows = after is not None and after.index == segment.index + 1
        limit = min(segment.base_seq + segment.slots, after.prev_end if after else 2**64)
        attested = limit if follows else min(segment.synced, limit)
        seq = segment.base_seq
        while seq < limit:
            got = segment.message(seq)
            if isinstance(got, str):
                if seq >= attested:  # the end of what was written
                    break
                yield seq, got
            else:
                yield (seq, *got)
            seq += 1
        while after and seq < after.prev_end:
            yield seq, "its file is missing"
            seq += 1


def main():
    as_json = sys.argv[1:2] == ["--json"]
    if len(sys.argv) != 2 + as_json:
        sys.exit(__doc__)
    for seq, *got in messages(sys.argv[-1]):
        if len(got) == 1:
            print(f"message {seq}: {got[0]}", file=sys.stderr)
        elif as_json:
            key, payload, time = got
            print(json.dumps({"seq": seq, "time_ns": time, "key": key.decode("latin-1"),
                              "payload": payload.decode("latin-1")}))
        else:
            sys.stdout.buffer.write(got[1] + b"\n")


if __name__ == "__main__":
    main()
