"""Calls the application at another runtime and at its own, and publishes to both."""

import json
import os
import uuid

from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprInternalError
from dapr.clients.grpc.interceptors import DaprClientInterceptor
from grpc import RpcError

from steps import RUN, equal, eventually, fails, finish, step

OWN, TARGET = os.environ["APP_ID"], os.environ["TARGET_APP_ID"]
PROTOCOL = os.environ["DAPR_API_METHOD_INVOCATION_PROTOCOL"]
TRACE = uuid.uuid4().hex
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def kind(app_id):
    """`http` or `grpc`: how the application serves."""
    return app_id.split("-")[0]


def header(answer, name):
    for key, value in answer.headers.items():
        if key.lower() == name:
            return value[0] if isinstance(value, list) else value
    raise AssertionError(f"no {name} in {answer.headers}")


def received(dapr, app_id):
    return json.loads(dapr.invoke_method(app_id, "received", http_verb="GET").data)


def invocation(dapr, app_id):
    with step(f"{PROTOCOL}: invoke {kind(app_id)}"):
        body = json.dumps({"to": app_id})
        answer = dapr.invoke_method(
            app_id, "echo", body, content_type="application/json", metadata=(("x-custom", "mine"),), http_verb="POST"
        )
        equal(answer.text(), body)
        equal(answer.content_type, "application/json")
        equal(header(answer, "x-custom"), "mine")
        equal(header(answer, "x-caller"), OWN)

    with step(f"{PROTOCOL}: invoke {kind(app_id)} with bytes"):
        plain = bytes(range(256))
        answer = dapr.invoke_method(app_id, "echo", plain, content_type="application/octet-stream", http_verb="PUT")
        equal(answer.data, plain)

    with step(f"{PROTOCOL}: a trace passes to {kind(app_id)}"):
        answer = traced().invoke_method(app_id, "echo", b"", http_verb="POST", metadata=trace_metadata())
        equal(header(answer, "x-seen-traceparent").split("-")[1], TRACE)


def trace_metadata():
    return (("traceparent", TRACEPARENT),) if PROTOCOL == "grpc" else None


def traced():
    headers = {"traceparent": TRACEPARENT}
    return DaprClient(
        headers_callback=lambda: headers, interceptors=[DaprClientInterceptor(list(headers.items()))]
    )


def http_only(dapr, app_id):
    with step(f"verbs and queries to {kind(app_id)}"):
        for verb in ["GET", "PUT", "DELETE"]:
            answer = dapr.invoke_method(app_id, "echo", "", http_verb=verb, http_querystring=(("a", "1"), ("b", "x y")))
            equal(header(answer, "x-verb"), verb)
            assert header(answer, "x-query") in ["a=1&b=x+y", "a=1&b=x%20y"], header(answer, "x-query")


def missing(dapr):
    with step(f"{PROTOCOL}: an unknown application"):
        error = fails((DaprInternalError, RpcError), lambda: dapr.invoke_method("nobody", "echo", b"", http_verb="POST"))
        print(f"  {error}")


def topic(app_id):
    return f"{kind(app_id)}-orders-{RUN}"


def events_of(dapr, app_id, data):
    return [entry for entry in received(dapr, app_id) if entry["event"].get("data") == data]


def messages(dapr, app_id):
    name = uuid.uuid4().hex
    with step(f"publish to {kind(app_id)}"):
        order = {"order": name}
        traced().publish_event("pubsub", topic(app_id), json.dumps(order), data_content_type="application/json")
        entry = eventually("it arrives", lambda: events_of(dapr, app_id, order))[0]
        event = entry["event"]
        equal((event["source"], event["datacontenttype"]), (OWN, "application/json"))
        equal((entry["kind"], event["topic"]), ("order", topic(app_id)))
        equal(event["traceparent"].split("-")[1], TRACE)
        equal(entry["traceparent"].split("-")[1], TRACE)

    with step(f"retry at {kind(app_id)}"):
        data = f"again {name}"
        dapr.publish_event("pubsub", f"{kind(app_id)}-again-{RUN}", data, data_content_type="text/plain")
        found = eventually("it comes again", lambda: events_of(dapr, app_id, data)[1:])
        equal([entry["kind"] for entry in found], ["again"])

    with step(f"dead letters of {kind(app_id)}"):
        before = len(events_of(dapr, app_id, "drop"))
        dapr.publish_event("pubsub", topic(app_id), "drop", data_content_type="text/plain")
        found = eventually("it is a dead letter", lambda: events_of(dapr, app_id, "drop")[before:][1:])
        equal(found[0]["kind"], "dead letter")

    if kind(app_id) == "grpc":
        routing(dapr, app_id, name)
    else:
        with step("declared subscription"):
            data = f"declared {name}"
            dapr.publish_event("pubsub", f"http-declared-{RUN}", data, data_content_type="text/plain")
            entry = eventually("it arrives", lambda: events_of(dapr, app_id, data))[0]
            equal(entry["kind"], "declared")


def routing(dapr, app_id, name):
    for kind_of_event in ["important", "unimportant"]:
        with step(f"routing rule for what is {kind_of_event}"):
            data, metadata = f"{kind_of_event} {name}", {"cloudevent.type": kind_of_event}
            dapr.publish_event(
                "pubsub", f"grpc-routed-{RUN}", data, data_content_type="text/plain", publish_metadata=metadata
            )
            entry = eventually("it arrives", lambda: events_of(dapr, app_id, data))[0]
            equal(entry["kind"], kind_of_event)


def ticks(dapr, app_id):
    with step(f"input binding of {kind(app_id)}"):
        eventually("a tick", lambda: [entry for entry in received(dapr, app_id) if entry["kind"] == "tick"])


with DaprClient() as dapr:
    for app_id in [OWN, TARGET]:
        invocation(dapr, app_id)
        if PROTOCOL == "http" and kind(app_id) == "http":
            http_only(dapr, app_id)
        messages(dapr, app_id)
        ticks(dapr, app_id)
    missing(dapr)
finish()
