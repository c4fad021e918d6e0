# SPDX-License-Identifier: GPL-2.0-or-later
"""Searches the whole memory of a process."""


def readable(pid):
    """(start, end, name) of every readable mapping."""
    with open(f'/proc/{pid}/maps', encoding='ascii', errors='replace') as maps:
        for line in maps:
            fields = line.split(None, 5)
            start, end = (int(x, 16) for x in fields[0].split('-'))
            name = fields[5].strip() if len(fields) > 5 else ''
            if 'r' in fields[1] and name not in ('[vvar]', '[vsyscall]'):
                yield start, end, name


def search(pid, secret):
    """Where the secret is, in binary or as hex of either case: a list of texts; and how many bytes were searched."""
    forms = {'binary': secret, 'hex': secret.hex().encode(), 'HEX': secret.hex().upper().encode()}
    found, searched = [], 0
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as memory:
        for start, end, name in readable(pid):
            memory.seek(start)
            try:
                content = b''.join(iter(lambda left=[end - start]: read_some(memory, left), b''))
            except OSError:
                continue
            searched += len(content)
            for form, pattern in forms.items():
                at = content.find(pattern)
                while at >= 0:
                    found.append(f'{form} at {start + at:#x} {name or "(anonymous)"}')
                    at = content.find(pattern, at + 1)
    return found, searched


def read_some(memory, left):
    """The next part of a mapping; memory reads can be short."""
    if not left[0]:
        return b''
    part = memory.read(left[0])
    left[0] -= len(part)
    return part
