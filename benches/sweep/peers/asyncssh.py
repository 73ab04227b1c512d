# The sweep with asyncssh: one connection and one command a host. argv: the directory of the hosts, that of the
# answers, the user, the key, known_hosts, how many hosts at once.
import asyncio
import pathlib
import sys

import asyncssh


async def main():
    hosts, out, user, key, known_hosts, forks = sys.argv[1:]
    hosts, out = pathlib.Path(hosts), pathlib.Path(out)
    asked = (hosts / "asked").read_text()
    limit = asyncio.Semaphore(int(forks))

    async def one(name, port):
        async with limit:
            async with asyncssh.connect(
                "127.0.0.1", port=int(port), username=user, client_keys=[key], known_hosts=known_hosts,
                config=None, agent_path=None, kex_algs=["curve25519-sha256"],
            ) as connection:
                result = await connection.run(asked, stdin=asyncssh.DEVNULL)
            (out / name).write_text(result.stdout)

    pairs = [line.split() for line in (hosts / "hosts.txt").read_text().splitlines()]
    for problem in await asyncio.gather(*(one(*pair) for pair in pairs), return_exceptions=True):
        if problem:
            print(repr(problem), file=sys.stderr)


asyncio.run(main())
