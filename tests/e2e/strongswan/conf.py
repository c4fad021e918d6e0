# SPDX-License-Identifier: GPL-2.0-or-later
"""swanctl.conf of a connection between two hosts of the test bed."""

PSK = 'an IKE pre-shared key, no PPK'


def connection(me, other, name='peer', ppk_id=None, required=False, proposals='aes128-sha256-curve25519', extra='',
               childless=False, local_id=None, remote_id=None, local_auth='auth = psk', remote_auth='auth = psk', rounds=''):
    """One connection with one child; local_auth, remote_auth: how the ends prove who they are; rounds: more sections of that."""
    ppk = f'ppk_id = {ppk_id}\n' if ppk_id else ''
    if required:
        ppk += '    ppk_required = yes\n'
    return f'''
  {name} {{
    version = 2
    local_addrs = {me.outer}
    remote_addrs = {other.outer}
    proposals = {proposals}
    {'childless = force' if childless else ''}
    {ppk}
    {extra}
    local {{
      {local_auth}
      id = {local_id or me.name}
    }}
    remote {{
      {remote_auth}
      id = {remote_id or other.name}
    }}
    {rounds}
    children {{
      {'net' if name == 'peer' else name} {{
        local_ts = {me.inner}/32
        remote_ts = {other.inner}/32
        esp_proposals = aes128-sha256
      }}
    }}
  }}
'''


def swanctl(connections, ppks=(), psk=PSK, eap=()):
    """The whole file; ppks: (id, hex) of a stock charon; eap: (identity, password)."""
    secrets = ''.join(f'  ppk-{n} {{\n    id = {i}\n    secret = 0x{h}\n  }}\n' for n, (i, h) in enumerate(ppks))
    secrets += ''.join(f'  eap-{n} {{\n    id = {i}\n    secret = "{p}"\n  }}\n' for n, (i, p) in enumerate(eap))
    return ('connections {\n' + ''.join(connections) + '}\nsecrets {\n  ike-1 {\n    secret = "' + psk + '"\n  }\n'
            + secrets + '}\n')
