"""Three brokers that let in who says who they are, by SCRAM, a token or a certificate, and allow what ACLs say."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from tests.support.kafka.apache_kafka import HERE, ApacheCluster, java
from tests.support.kafka.certificates import Authority

LOGIN = "listener.name.sasl_ssl"
SECURITY = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:root
ssl.keystore.type=PEM
ssl.keystore.location={server}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
ssl.principal.mapping.rules=RULE:^CN=([^,]*).*$/$1/
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
{login}.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
{login}.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
{login}.oauthbearer.sasl.jaas.config=\
  org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="root";
"""
"""ANONYMOUS is who comes by the plain listener: the brokers among themselves, and a test that sets the stage."""


class SecuredCluster(ApacheCluster):
    """`users`: by name, their passwords; `root` may everything, the others what `allow` says."""

    def __init__(self, folder: Path, users: dict[str, str]) -> None:
        self.folder = folder
        self.authority = Authority(folder / "certificates", "authority")
        self.other_authority = Authority(folder / "certificates", "stranger")
        scram = [
            word
            for name, password in users.items()
            for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")
            for word in ("--add-scram", f"{mechanism}=[name={name},password={password},iterations=4096]")
        ]
        more = SECURITY.format(
            server=self.authority.certificate("broker"), authority=self.authority.file, login=LOGIN
        )
        super().__init__(folder, 3, more, ("SASL_SSL", "SSL"), scram)

    def allow(self, lines: Iterable[str]) -> None:
        """Give the arguments of kafka-acls.sh, a line each, to the tool itself."""
        file = self.folder / "acls.txt"
        file.write_text("\n".join(lines))
        # a class in a source file is compiled when it is run
        command = java(str(HERE / "RunAcls.java"), str(file))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def unsecured_token(name: str) -> str:
    """A token that nobody has signed, which the test's brokers take."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": name, "iat": now, "exp": now + 3600})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return f"{'.'.join(encoded)}."
