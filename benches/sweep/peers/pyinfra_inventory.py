# The hosts as pyinfra reads them; what they are comes by the environment.
import os
import pathlib

hosts = [
    (name, {
        "ssh_hostname": "127.0.0.1", "ssh_port": int(port), "ssh_user": os.environ["SWEEP_USER"],
        "ssh_key": os.environ["SWEEP_KEY"], "ssh_known_hosts_file": os.environ["SWEEP_KNOWN_HOSTS"],
        "ssh_strict_host_key_checking": "yes", "ssh_allow_agent": False, "ssh_look_for_keys": False,
    })
    for name, port in (
        line.split() for line in pathlib.Path(os.environ["SWEEP_HOSTS"], "hosts.txt").read_text().splitlines()
    )
]
