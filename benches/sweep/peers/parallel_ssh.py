# The sweep with the parallel-ssh library. It does not check host keys. argv: as asyncssh.py.
import pathlib
import sys

from pssh.clients import ParallelSSHClient
from pssh.config import HostConfig

hosts, out, user, key, _, forks = sys.argv[1:]
hosts, out = pathlib.Path(hosts), pathlib.Path(out)
pairs = [line.split() for line in (hosts / "hosts.txt").read_text().splitlines()]
client = ParallelSSHClient(
    ["127.0.0.1"] * len(pairs), user=user, pkey=key, allow_agent=False, pool_size=int(forks),
    host_config=[HostConfig(port=int(port)) for _, port in pairs],
)
outputs = client.run_command((hosts / "asked").read_text(), stop_on_errors=False)
for (name, _), output in zip(pairs, outputs):
    if output.exception:
        print(repr(output.exception), file=sys.stderr)
for (name, _), output in zip(pairs, outputs):
    if not output.exception:
        (out / name).write_text("".join(line + "\n" for line in output.stdout))
