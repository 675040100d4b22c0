"""What a program without a server of its own does with the SDK, over gRPC."""

import json
import os

from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprGrpcError
from dapr.clients.grpc import conversation
from dapr.clients.grpc._crypto import DecryptOptions, EncryptOptions
from dapr.clients.grpc._request import (
    BulkPublishEntry,
    TransactionalStateOperation,
    TransactionOperationType,
)
from dapr.clients.grpc._response import TopicEventResponse, UnlockResponseStatus
from dapr.clients.grpc._state import Concurrency, Consistency, StateItem, StateOptions
from dapr.conf import settings
from grpc import RpcError, StatusCode, UnaryStreamClientInterceptor

from steps import RUN, equal, eventually, fails, finish, step

APP_ID = os.environ["APP_ID"]
CONFIGURATION_WRITER = os.environ["CONFIGURATION_WRITER"]
FIRST_WRITE = StateOptions(concurrency=Concurrency.first_write, consistency=Consistency.strong)


class TokenForStreams(UnaryStreamClientInterceptor):
    """The SDK sends the API token with every kind of call but this one, to any runtime."""

    def intercept_unary_stream(self, continuation, client_call_details, request):
        metadata = [*(client_call_details.metadata or []), ("dapr-api-token", settings.DAPR_API_TOKEN)]
        return continuation(client_call_details._replace(metadata=metadata), request)


def metadata(dapr):
    with step("metadata"):
        found = dapr.get_metadata()
        equal(found.application_id, APP_ID)
        components = {component.name: component for component in found.registered_components}
        assert "ETAG" in components["statestore"].capabilities, components["statestore"]
        assert components["pubsub"].type.startswith("pubsub."), components["pubsub"]
        dapr.set_metadata("colour", "green")
        equal(dapr.get_metadata().extended_metadata["colour"], "green")

    with step("a wrong API token"):
        right, settings.DAPR_API_TOKEN = settings.DAPR_API_TOKEN, "wrong"
        with DaprClient() as stranger:
            error = fails(DaprGrpcError, stranger.get_metadata)
        settings.DAPR_API_TOKEN = right
        equal(error.code(), StatusCode.UNAUTHENTICATED)


def state(dapr, store):
    def value(key):
        return dapr.get_state(store, key).data

    with step(f"{store}: save, get, delete"):
        equal(value("k"), b"")
        dapr.save_state(store, "k", "v1", state_metadata={"contentType": "text/plain"})
        equal(value("k"), b"v1")
        dapr.save_state(store, "bytes", b"\x00\xff\x7f")
        equal(value("bytes"), b"\x00\xff\x7f")
        dapr.delete_state(store, "k")
        equal(value("k"), b"")

    with step(f"{store}: etags"):
        dapr.save_state(store, "k", "v1")
        old = dapr.get_state(store, "k").etag
        dapr.save_state(store, "k", "v2", etag=old, options=FIRST_WRITE)
        error = fails(DaprGrpcError, lambda: dapr.save_state(store, "k", "v3", etag=old, options=FIRST_WRITE))
        equal(error.code(), StatusCode.ABORTED)
        error = fails(DaprGrpcError, lambda: dapr.delete_state(store, "k", etag=old, options=FIRST_WRITE))
        equal(error.code(), StatusCode.ABORTED)
        equal(value("k"), b"v2")

    with step(f"{store}: bulk"):
        dapr.save_bulk_state(store, [StateItem(key="a", value="1"), StateItem(key="b", value="2")])
        items = {item.key: item for item in dapr.get_bulk_state(store, ["a", "b", "none"], parallelism=2).items}
        equal({key: item.data for key, item in items.items()}, {"a": b"1", "b": b"2", "none": b""})
        equal(items["a"].etag, dapr.get_state(store, "a").etag)

    with step(f"{store}: transaction"):
        upsert, delete = TransactionOperationType.upsert, TransactionOperationType.delete
        dapr.execute_state_transaction(
            store,
            [
                TransactionalStateOperation(key="a", data="x", operation_type=upsert),
                TransactionalStateOperation(key="b", operation_type=delete),
            ],
        )
        equal((value("a"), value("b")), (b"x", b""))

    with step(f"{store}: time to live"):
        dapr.save_state(store, "short", "lived", state_metadata={"ttlInSeconds": "3"})
        equal(value("short"), b"lived")
        eventually("it expires", lambda: value("short") == b"")

    with step(f"{store}: an unknown store"):
        error = fails(DaprGrpcError, lambda: dapr.get_state("nowhere", "k"))
        equal(error.code(), StatusCode.INVALID_ARGUMENT)
        assert "nowhere" in error.details(), error.details()
        equal(error.error_code(), "DAPR_STATE_NOT_FOUND")


def messages(dapr):
    topic = f"stream-{RUN}"
    with step("streamed subscription"):
        subscription = dapr.subscribe(pubsub_name="pubsub", topic=topic)
        dapr.publish_event("pubsub", topic, json.dumps({"n": 1}), data_content_type="application/json")
        message = subscription.next_message()
        equal(message.data(), {"n": 1})
        equal((message.topic(), message.pubsub_name()), (topic, "pubsub"))
        equal((message.source(), message.data_content_type()), (APP_ID, "application/json"))
        subscription.respond_success(message)

    with step("a message that is asked for again"):
        dapr.publish_event("pubsub", topic, "again", data_content_type="text/plain")
        first = subscription.next_message()
        equal(first.data(), "again")
        subscription.respond_retry(first)
        second = subscription.next_message()
        equal((second.data(), second.id()), ("again", first.id()))
        subscription.respond_success(second)
        subscription.close()

    with step("bulk publish to a handler"):
        bulk_topic, seen = f"bulk-{RUN}", []

        def handler(message):
            seen.append(message.data())
            return TopicEventResponse("success")

        close = dapr.subscribe_with_handler(pubsub_name="pubsub", topic=bulk_topic, handler_fn=handler)
        events = ["one", BulkPublishEntry(event='{"n": 2}', content_type="application/json", entry_id="second")]
        answer = dapr.publish_events("pubsub", bulk_topic, events, data_content_type="text/plain")
        equal(answer.failed_entries, [])
        eventually("both arrive", lambda: len(seen) == 2)
        assert "one" in seen and {"n": 2} in seen, seen
        close()

    with step("publishing to an unknown component"):
        error = fails(DaprGrpcError, lambda: dapr.publish_event("nowhere", "topic", "x"))
        equal(error.code(), StatusCode.INVALID_ARGUMENT)
        equal(error.error_code(), "DAPR_PUBSUB_NOT_FOUND")


def bindings_and_secrets(dapr):
    with step("output binding"):
        # A folder calls it a file name and a bucket a key.
        name = {"fileName": "a/one.txt", "key": "a/one.txt"}
        made = dapr.invoke_binding("files", "create", "some text!", name).json()
        assert (made.get("fileName") or made["location"]).endswith("a/one.txt"), made
        equal(dapr.invoke_binding("files", "get", "", name).text(), "some text!")
        dapr.invoke_binding("files", "delete", "", name)
        fails(RpcError, lambda: dapr.invoke_binding("files", "get", "", name))

    with step("secrets"):
        equal(dapr.get_secret("secrets", "password").secret, {"password": "open sesame"})
        everything = dapr.get_bulk_secret("secrets").secrets
        equal(everything["db:user"], {"db:user": "scott"})
        fails(RpcError, lambda: dapr.get_secret("secrets", "none"))


def configuration(dapr):
    key = "greeting" if not CONFIGURATION_WRITER else f"greeting-{RUN}"
    if CONFIGURATION_WRITER:
        dapr.invoke_binding(CONFIGURATION_WRITER, "create", "hello||1", {"key": key})

    with step("configuration"):
        item = dapr.get_configuration("configstore", [key]).items[key]
        equal((item.value, item.version), ("hello", "1"))

    with step("configuration changes"):
        seen = {}
        subscription = dapr.subscribe_configuration(
            "configstore", [key], lambda id, answer: seen.update(answer.items)
        )
        assert subscription, "a subscription has an id"
        if CONFIGURATION_WRITER:
            dapr.invoke_binding(CONFIGURATION_WRITER, "create", "good bye||2", {"key": key})
            eventually("the change arrives", lambda: key in seen and seen[key].value == "good bye")
        equal(dapr.unsubscribe_configuration("configstore", subscription), True)


def lock(dapr):
    resource = f"resource-{RUN}"
    with step("lock"):
        with dapr.try_lock("lockstore", resource, "me", 20) as mine:
            equal(mine.success, True)
            equal(dapr.try_lock("lockstore", resource, "you", 20).success, False)
            equal(dapr.unlock("lockstore", resource, "you").status, UnlockResponseStatus.lock_belongs_to_others)
        equal(dapr.unlock("lockstore", resource, "me").status, UnlockResponseStatus.lock_does_not_exist)
        equal(dapr.try_lock("lockstore", resource, "you", 1).success, True)


def cryptography(dapr):
    for size in [1, 100, 300_000]:
        with step(f"encrypt and decrypt {size} bytes"):
            plain = os.urandom(size)
            options = EncryptOptions(component_name="keys", key_name="mykey", key_wrap_algorithm="AES")
            document = dapr.encrypt(data=plain, options=options).read()
            assert document.startswith(b"dapr.io/enc/v1\n"), document[:40]
            equal(dapr.decrypt(data=document, options=DecryptOptions(component_name="keys")).read(), plain)

    with step("an unknown key"):
        options = EncryptOptions(component_name="keys", key_name="none", key_wrap_algorithm="AES")
        fails(RpcError, lambda: dapr.encrypt(data="x", options=options).read())


def conversations(dapr):
    with step("conversation"):
        inputs = [conversation.ConversationInput(content="repeat me", role="user")]
        answer = dapr.converse_alpha1(name="echo", inputs=inputs)
        equal(answer.outputs[0].result, "repeat me")
        inputs = [conversation.ConversationInputAlpha2(messages=[conversation.create_user_message("and me")])]
        answer = dapr.converse_alpha2(name="echo", inputs=inputs)
        equal(answer.outputs[0].choices[0].message.content, "and me")


with step("the SDK's health check"):
    client = DaprClient(interceptors=[TokenForStreams()])
with client as dapr:
    metadata(dapr)
    stores = [component.name for component in dapr.get_metadata().registered_components]
    for store in ["statestore", "memorystore"]:
        if store in stores:
            state(dapr, store)
    messages(dapr)
    bindings_and_secrets(dapr)
    configuration(dapr)
    lock(dapr)
    cryptography(dapr)
    conversations(dapr)
    with step("shutdown"):
        dapr.shutdown()
finish()
