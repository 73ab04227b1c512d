# The sweep with pyinfra: one shell command a host.
import os
import pathlib

from pyinfra.operations import server

hosts = pathlib.Path(os.environ["SWEEP_HOSTS"])
server.shell(name="probe", commands=[(hosts / "asked").read_text()])
