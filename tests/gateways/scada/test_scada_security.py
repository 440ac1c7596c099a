"""Who is let in, and what is refused: certificates, sessions, passwords, and what is another's."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua

from gateways.scada.names import node
from rules.errors import ConfigurationError
from tests.gateways.scada.live import LOW_R1, PASSWORD, Events, Live, call, client, live, site_folder, until
from tests.gateways.scada.secure import POLICIES, certificate, channel, secured, trust

FLOW = node("R1.RackLiquidFlow")


class Site:
    """A running site that offers no security None, with its certificates; `hmi` is trusted, `stranger` is not."""

    def __init__(self, plant: Live, folder: Path) -> None:
        self.plant, self.folder = plant, folder
        self.endpoint = plant.endpoint
        self.pki = folder / "run" / "scada-pki"
        self.server = self.pki / "own" / "certs" / "server.der"

    async def application(self, name: str, trusted: bool = True) -> tuple[Path, Path]:
        made = await certificate(self.folder / "clients", name)
        if trusted:
            trust(self.pki, made[0])
        return made


@pytest.fixture
async def closed(tmp_path: Path, unused_port: int) -> AsyncIterator[Site]:
    folder = site_folder(tmp_path / "site")
    async with live(folder, unused_port, allow_none=False) as plant:
        yield Site(plant, folder)


@pytest.fixture
async def opened(tmp_path: Path, unused_port: int) -> AsyncIterator[Site]:
    """The same, that offers None as well."""
    folder = site_folder(tmp_path / "site")
    async with live(folder, unused_port) as plant:
        yield Site(plant, folder)


async def status_of(wanted: Any) -> str:
    """The name of the status with which something is refused; a connection that is closed is 'closed'."""
    try:
        await wanted
    except ua.UaStatusCodeError as error:
        return str(ua.StatusCode(error.code).name)
    except (ConnectionError, TimeoutError, ua.UaError) as error:
        return "closed" if not isinstance(error, TimeoutError) else "nothing came"
    return "Good"


async def value(client_: Any) -> float:
    return float((await client_.get_node(FLOW).read_data_value()).Value.Value)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_trusted_application_is_let_in_by_either_policy(closed: Site, policy: str) -> None:
    await closed.plant.flow(90)
    own = await closed.application("hmi")
    made = await secured(closed.endpoint, own, closed.server, policy, "eva")
    made.set_password(PASSWORD)
    async with made:
        await until(lambda: closed.plant.context.metrics["readings"])
        assert await value(made) == 90.0
        await made.open_secure_channel(renew=True)
        assert await value(made) == 90.0


async def test_who_nobody_trusts_is_refused_and_kept_for_the_admin(closed: Site) -> None:
    own = await closed.application("stranger", trusted=False)
    made = await secured(closed.endpoint, own, closed.server)
    assert await status_of(made.connect()) != "Good"
    (kept,) = (closed.pki / "rejected").glob("*.der")
    assert kept.read_bytes() == own[0].read_bytes()
    kept.rename(closed.pki / "trusted" / "certs" / kept.name)
    async with await secured(closed.endpoint, own, closed.server):
        pass


async def test_without_security_endpoints_can_be_asked_for_and_nothing_else(closed: Site) -> None:
    found = await Client(closed.endpoint, timeout=60).connect_and_get_server_endpoints()
    modes = {(one.SecurityMode, one.SecurityPolicyUri) for one in found}
    assert modes == {(ua.MessageSecurityMode.SignAndEncrypt, policy.URI) for policy in POLICIES.values()}
    async with channel(Client(closed.endpoint, timeout=60)) as made:
        params = ua.CreateSessionParameters(EndpointUrl=closed.endpoint)
        assert await status_of(made.uaclient.create_session(params)) == "BadSecurityModeInsufficient"
        params = ua.ReadParameters(NodesToRead=[ua.ReadValueId(FLOW, ua.AttributeIds.Value)])
        assert await status_of(made.uaclient.read(params)) == "BadSecurityModeInsufficient"


async def test_none_is_for_loopback_alone(tmp_path: Path, unused_port: int) -> None:
    folder = site_folder(tmp_path / "site")
    with pytest.raises(ConfigurationError, match="loopback"):
        async with live(folder, unused_port, endpoint=f"opc.tcp://0.0.0.0:{unused_port}/"):
            pass


async def test_a_session_is_for_the_certificate_of_its_channel(closed: Site) -> None:
    """The first of the takes-over: with no certificate, and with one that was only seen."""
    own, other = await closed.application("hmi"), await closed.application("panel")
    for shown in (b"", None, other[0].read_bytes()):
        async with channel(await secured(closed.endpoint, own, closed.server)) as made:
            params = ua.CreateSessionParameters(
                ClientDescription=ua.ApplicationDescription(ApplicationUri="urn:hmi"),
                EndpointUrl=closed.endpoint,
                ClientNonce=bytes(32),
                ClientCertificate=shown,
                RequestedSessionTimeout=60_000,
            )
            assert await status_of(made.uaclient.create_session(params)) == "BadCertificateInvalid"
            params.ClientCertificate = own[0].read_bytes()
            params.ClientDescription.ApplicationUri = "urn:panel"
            assert await status_of(made.uaclient.create_session(params)) == "BadCertificateUriInvalid"


async def test_a_borrowed_certificate_opens_no_channel(closed: Site) -> None:
    """Somebody has seen the certificate of a trusted application, and not its key."""
    own, other = await closed.application("hmi"), await closed.application("stranger", trusted=False)
    made = await secured(closed.endpoint, (own[0], other[1]), closed.server)
    assert await status_of(made.connect()) != "Good"
    assert closed.plant.context.metrics["channels_refused"] == 1


async def test_a_session_is_not_taken_over(opened: Site) -> None:
    """With a token that is guessed, or even known: from a channel without security, and with another certificate."""
    own, other = await opened.application("hmi"), await opened.application("panel")
    victim = await secured(opened.endpoint, own, opened.server)
    async with victim:
        token = victim.uaclient.session.authentication_token
        assert token.NodeIdType == ua.NodeIdType.ByteString
        assert len(token.Identifier) == 32
        guesses = [ua.NodeId(number) for number in (1000, 1001, 1005)]
        for stolen in (*guesses, ua.NodeId(bytes(32), 0, ua.NodeIdType.ByteString), token):
            async with channel(Client(opened.endpoint, timeout=60)) as thief:
                await refused_with(thief, stolen)
        async with channel(await secured(opened.endpoint, other, opened.server)) as thief:
            await refused_with(thief, token)
        # it goes on where it was
        assert await victim.get_node(ua.ObjectIds.Server_ServerStatus_State).read_value() == 0


async def refused_with(thief: Any, token: Any) -> None:
    """Neither is the session activated here, nor is a request with its token heard, before and after the trial."""
    session = thief.uaclient.session
    session.restore_authentication_token(token)
    params = ua.ReadParameters(NodesToRead=[ua.ReadValueId(FLOW, ua.AttributeIds.Value)])
    assert await status_of(thief.uaclient.read(params)) == "BadSessionIdInvalid"
    activate = ua.ActivateSessionParameters(UserIdentityToken=ua.AnonymousIdentityToken(PolicyId="anonymous"))
    activate.ClientSignature.Signature = b"nothing"
    refusals = ("BadSessionIdInvalid", "BadSecurityChecksFailed")
    assert await status_of(thief.uaclient.activate_session(activate)) in refusals
    assert await status_of(thief.uaclient.read(params)) == "BadSessionIdInvalid"


async def test_a_session_goes_over_to_a_new_channel_of_its_own_client(closed: Site) -> None:
    """The connection breaks; with the same certificate and user it goes on, and with its subscription."""
    own = await closed.application("hmi")
    first = await secured(closed.endpoint, own, closed.server, name="eva")
    first.set_password(PASSWORD)
    await first.connect()
    events = Events()
    await events.subscribe(first)
    token, nonce = first.uaclient.session.authentication_token, first._server_nonce
    policies = first._policy_ids
    second = await secured(closed.endpoint, own, closed.server, name="eva")
    async with channel(second):
        second._server_nonce, second._policy_ids = nonce, policies
        second.uaclient.session.restore_authentication_token(token)
        wrong = second.activate_session("vic", PASSWORD)
        assert await status_of(wrong) == "BadIdentityChangeNotSupported"
        assert await status_of(second.activate_session("eva", PASSWORD)) == "Good"
        params = ua.ReadParameters(NodesToRead=[ua.ReadValueId(FLOW, ua.AttributeIds.Value)])
        assert await status_of(second.uaclient.read(params)) == "Good"
        assert await status_of(first.uaclient.read(params)) != "Good"
        assert closed.plant.context.metrics["channels_refused"] == 0
    with contextlib.suppress(Exception):
        await first.disconnect()


async def test_a_wrong_password_is_refused_and_not_made_anonymous(opened: Site) -> None:
    for name, password in (("eva", "wrong wrong wrong"), ("nobody", PASSWORD), ("eva", "")):
        made = Client(opened.endpoint, timeout=60)
        made.set_user(name)
        made.set_password(password)
        assert await status_of(made.connect()) in ("BadUserAccessDenied", "BadIdentityTokenInvalid")
        with contextlib.suppress(Exception):
            await made.disconnect()


async def test_a_password_is_for_one_session_and_never_in_clear(opened: Site) -> None:
    made = Client(opened.endpoint, timeout=60)
    async with channel(made):
        await made.create_session()
        heard, algorithm = made._encrypt_password(PASSWORD, POLICIES["Basic256Sha256"].URI)
        token = ua.UserNameIdentityToken(
            PolicyId="username", UserName="eva", Password=heard, EncryptionAlgorithm=algorithm
        )
    async with channel(Client(opened.endpoint, timeout=60)) as other:
        await other.create_session()
        for password, by in (
            (heard, algorithm),
            (heard, "http://www.w3.org/2001/04/xmlenc#rsa-1_5"),
            (b"x" * 256, algorithm),
            (PASSWORD.encode(), None),
        ):
            token.Password, token.EncryptionAlgorithm = password, by
            params = ua.ActivateSessionParameters(UserIdentityToken=token)
            assert await status_of(other.uaclient.activate_session(params)) == "BadIdentityTokenInvalid"
        token.Password, token.EncryptionAlgorithm = other._encrypt_password(
            PASSWORD, POLICIES["Basic256Sha256"].URI
        )
        params = ua.ActivateSessionParameters(UserIdentityToken=token)
        assert await status_of(other.uaclient.activate_session(params)) == "Good"


async def test_a_user_with_a_certificate(tmp_path: Path, unused_port: int) -> None:
    folder = site_folder(tmp_path / "site")
    made, key = await certificate(tmp_path, "otto")
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    with (folder / "users.yaml").open("a") as users:
        users.write(f"  otto: {{role: operator, certificates: [{digest}]}}\n")
    async with live(folder, unused_port) as plant:
        otto = Client(plant.endpoint, timeout=60)
        await otto.load_client_certificate(str(made))
        await otto.load_private_key(str(key))
        async with otto:
            answer = await call(otto, node(LOW_R1), "AlarmConditionType_ShelvingState_Unshelve")
            assert answer == "BadUserAccessDenied"  # by the engine: he is not on its access list
            assert plant.context.metrics["actions"] == 1
        _, other_key = await certificate(tmp_path, "stranger")
        thief = Client(plant.endpoint, timeout=60)
        await thief.load_client_certificate(str(made))
        await thief.load_private_key(str(other_key))
        assert await status_of(thief.connect()) == "BadUserSignatureInvalid"
        with contextlib.suppress(Exception):
            await thief.disconnect()


async def test_another_session_s_subscription_is_as_good_as_none(opened: Site) -> None:
    async with client(opened.endpoint, "eva") as eva, client(opened.endpoint, "vic") as vic:
        events = Events()
        number, item = await events.subscribe(eva)
        calls = vic.uaclient
        unknown = "BadSubscriptionIdInvalid"
        create = ua.CreateMonitoredItemsParameters(SubscriptionId=number)
        assert await status_of(calls.create_monitored_items(create)) == unknown
        delete = ua.DeleteMonitoredItemsParameters(SubscriptionId=number, MonitoredItemIds=[item])
        assert await status_of(calls.delete_monitored_items(delete)) == unknown
        (deleted,) = await calls.delete_subscriptions([number])
        assert deleted.name == unknown
        (moved,) = await calls.transfer_subscriptions(
            ua.TransferSubscriptionsParameters(SubscriptionIds=[number])
        )
        assert moved.StatusCode.name == "BadUserAccessDenied"
        await opened.plant.flow(60)
        await until(lambda: events.of(LOW_R1))


async def test_nothing_can_be_written_or_added(opened: Site) -> None:
    async with client(opened.endpoint, "ada") as ada:
        written = await ada.write_values([ada.get_node(FLOW)], [1.0], raise_on_partial_error=False)
        assert [one.name for one in written] == ["BadNotWritable"]
        switch = ua.NodeId(ua.ObjectIds.Server_ServerDiagnostics_EnabledFlag)
        written = await ada.write_values([ada.get_node(switch)], [True], raise_on_partial_error=False)
        assert [one.name for one in written] == ["BadUserAccessDenied"]
        assert await status_of(ada.uaclient.add_nodes([ua.AddNodesItem()])) == "BadServiceUnsupported"
        assert await status_of(ada.uaclient.register_server(ua.RegisteredServer())) == "BadServiceUnsupported"


async def test_on_a_site_without_users_everybody_sees_and_nobody_acts(
    tmp_path: Path, unused_port: int
) -> None:
    async with live(site_folder(tmp_path / "site", with_users=False), unused_port) as plant:
        async with client(plant.endpoint) as one:
            answer = await call(one, node(LOW_R1), "AlarmConditionType_ShelvingState_TimedShelve", 1000.0)
            assert answer == "BadUserAccessDenied"
        made = Client(plant.endpoint, timeout=60)
        made.set_user("eva")
        made.set_password(PASSWORD)
        assert await status_of(made.connect()) == "BadUserAccessDenied"
        with contextlib.suppress(Exception):
            await made.disconnect()
