"""A broker with ACLs: what a login may not do is said, with what it lacks; nothing waits for it in silence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from sorbus.bus import kafka as bus
from sorbus.bus.names import Names
from sorbus.bus.publisher import Publisher
from sorbus.bus.sending import Single, send
from sorbus.errors import AuthError
from sorbus.ops.embedded import Addresses
from sorbus.ops.embedded import kafka as embedded
from sorbus.ops.embedded.packages import fetch
from sorbus.ops.embedded.ports import Ports
from sorbus.settings import KafkaConfig, Settings
from tests.consumers.line import FLOW, RESTRICTED, Line, eventually, named
from tests.consumers.plugin import line, make_line

__all__ = ["line", "make_line"]

pytestmark = pytest.mark.slow
TOPIC, GROUP, TRANSACTIONS = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
_DROPPED = ("listeners=", "advertised.listeners=", "listener.security.protocol.map=")
_ACLS = """\
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller},SASL://{host}:%(sasl)d
advertised.listeners=CLIENT://{host}:{port},SASL://{host}:%(sasl)d
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_sorbus="secret";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""
_LOGIN: KafkaConfig = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "sorbus",
    "sasl.password": "secret",
}
Deny = Callable[[ResourceType, str, AclOperation], None]


class Broker(NamedTuple):
    """Its addresses for who may do everything, and for a login that needs rights."""

    all: str
    login: str


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    ports, sasl = Ports.free(), Ports.free().kafka
    kept = [each for each in embedded._SETTINGS.splitlines() if not each.startswith(_DROPPED)]
    with pytest.MonkeyPatch.context() as patched, ExitStack() as ending:
        patched.setattr(embedded, "_SETTINGS", "\n".join(kept) + "\n" + _ACLS % {"sasl": sasl})
        found = embedded.Kafka(tmp_path_factory.mktemp("kafka"), fetch(), port=ports.kafka, controller=ports.controller)
        ending.callback(found.stop)
        found.start()
        found.wait()
        yield Broker(found.address, f"127.0.0.1:{sasl}")


@pytest.fixture(scope="module")
def stack(stack: Addresses, broker: Broker) -> Addresses:
    return replace(stack, kafka=broker.all)


@pytest.fixture
def login(line: Line, broker: Broker) -> Settings:
    """Of who has every right on the line's topics, groups and transactional ids, but what `deny` takes."""
    acl(broker, *((kind, line.names.prefix, AclOperation.ALL) for kind in (TOPIC, GROUP, TRANSACTIONS)))
    return line.settings.model_copy(update={"kafka": broker.login, "kafka_config": _LOGIN})


@pytest.fixture
def deny(broker: Broker, login: Settings) -> Deny:
    return lambda *denied: acl(broker, denied, how=AclPermissionType.DENY)


def acl(
    broker: Broker,
    *given: tuple[ResourceType, str, AclOperation],
    how: AclPermissionType = AclPermissionType.ALLOW,
) -> None:
    client = AdminClient({"bootstrap.servers": broker.all})
    pattern = ResourcePatternType.PREFIXED if how is AclPermissionType.ALLOW else ResourcePatternType.LITERAL
    made = [AclBinding(kind, name, pattern, "User:sorbus", "*", operation, how) for kind, name, operation in given]
    for future in client.create_acls(made).values():
        future.result(30)


def flow_group(names: Names) -> str:
    return names.group(FLOW)


@pytest.mark.parametrize(
    ("kind", "name", "operation", "words"),
    [
        (TOPIC, lambda names: names.topic("gadget"), AclOperation.DESCRIBE, "on the topic"),
        (TOPIC, lambda names: names.topic("gadget"), AclOperation.READ, "on the topic"),
        (TOPIC, lambda names: names.topic("gadget"), AclOperation.DESCRIBE_CONFIGS, "on the topic"),
        (TOPIC, lambda names: names.requeue(FLOW), AclOperation.READ, "on the topic"),
        (TOPIC, lambda names: names.dead_letters("gadget"), AclOperation.WRITE, "on the topic"),
        (GROUP, flow_group, AclOperation.READ, "READ on the consumer group"),
    ],
)
def test_a_flow_says_what_it_may_not_do(
    line: Line,
    login: Settings,
    deny: Deny,
    kind: ResourceType,
    name: Callable[[Names], str],
    operation: AclOperation,
    words: str,
) -> None:
    line.execute(RESTRICTED)
    line.publish([("a", 1, named("a name that is much too long"))])
    deny(kind, name(line.names), operation)
    with (
        pytest.raises(AssertionError, match="the loop ended with AuthError") as ended,
        line.consuming(login) as running,
    ):
        eventually(lambda: not running.thread.is_alive(), "the flow's end")
    assert name(line.names) in str(ended.value)
    assert words in str(ended.value)
    assert isinstance(running.error, AuthError)
    assert not running.error.lockout, "trying again locks no account, so that a right that was added is noticed"


def test_a_producer_says_what_it_may_not_do(line: Line, login: Settings, deny: Deny) -> None:
    id = line.names.transactional_id("crm")
    publisher = Publisher(login, id)
    publisher.produce(line.topic, b"k", b"v")
    publisher.commit()
    deny(TOPIC, line.topic, AclOperation.WRITE)

    def published() -> str:
        try:
            publisher.produce(line.topic, b"k", b"v")
            publisher.produce(line.names.positions, b"k", b"v")
            publisher.commit()
        except AuthError as error:
            return str(error)
        return ""

    told = eventually(published, "a denial")
    assert f"on {line.topic}: Kafka denies access" in told, "of two topics, the one that is denied"
    publisher.close()
    deny(TRANSACTIONS, id, AclOperation.WRITE)

    def taken() -> str:
        try:
            Publisher(login, id).close()
        except AuthError as error:
            return str(error)
        return ""

    told = eventually(taken, "a denial")
    assert id in told
    assert "WRITE and DESCRIBE on the transactional id" in told


def test_single_messages_say_where_they_may_not_be_written(line: Line, login: Settings, deny: Deny) -> None:
    deny(TOPIC, line.names.schemas, AclOperation.WRITE)
    for _ in range(2):  # Kafka's client knows it the second time
        with pytest.raises(AuthError, match=f"keeping it: .*{line.names.schemas}.* denies access"):
            send(bus.idempotent_producer(login, "test"), [Single(line.names.schemas, b"k", b"v")], "keeping it")


def test_doctor_says_which_rights_are_missing(line: Line, login: Settings, deny: Deny) -> None:
    deny(TOPIC, line.topic, AclOperation.READ)
    deny(TOPIC, line.names.controls, AclOperation.WRITE)
    line.env |= {"SORBUS_KAFKA": login.kafka, "SORBUS_KAFKA_CONFIG": json.dumps(_LOGIN)}
    told = eventually(
        lambda: (found := line.sorbus("doctor", status=1)).count("this login lacks") == 2 and found, "both rights"
    )
    assert f"this login lacks READ on {line.topic}" in told
    assert f"this login lacks WRITE on {line.names.controls}" in told
