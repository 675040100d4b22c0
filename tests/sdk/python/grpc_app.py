"""An application over gRPC, by the SDK's extension. What it got is asked of it by the method `received`."""

import json
import os
from collections import Counter

from cloudevents.sdk.event import v1
from dapr.clients.grpc._response import TopicEventResponse
from dapr.ext.grpc import App, BindingRequest, InvokeMethodRequest, InvokeMethodResponse, Rule

RUN = os.environ["RUN"]
ORDERS = f"grpc-orders-{RUN}"
AGAIN = f"grpc-again-{RUN}"
DEAD = f"grpc-dead-{RUN}"
ROUTED = f"grpc-routed-{RUN}"

app = App()
received = []
deliveries = Counter()


def note(kind, event):
    extensions = event.Extensions()
    received.append(
        {
            "kind": kind,
            "event": {
                "id": event.EventID(),
                "type": event.EventType(),
                "source": event.Source(),
                "topic": event.Subject(),
                "datacontenttype": event.ContentType(),
                "data": read(event),
                "traceparent": extensions.get("traceparent", ""),
            },
            "traceparent": extensions.get("_metadata_traceparent", ""),
            "token": extensions.get("_metadata_dapr-api-token", ""),
        }
    )


def read(event):
    text = event.Data().decode()
    return json.loads(text) if event.ContentType() == "application/json" else text


@app.subscribe(pubsub_name="pubsub", topic=ORDERS, dead_letter_topic=DEAD)
def orders(event: v1.Event) -> TopicEventResponse:
    note("order", event)
    return TopicEventResponse("drop" if event.Data() == b"drop" else "success")


# Without dead letters: where there are some, a message that is asked for again becomes one.
@app.subscribe(pubsub_name="pubsub", topic=AGAIN)
def again(event: v1.Event) -> TopicEventResponse:
    deliveries[event.EventID()] += 1
    note("again", event)
    return TopicEventResponse("retry" if deliveries[event.EventID()] == 1 else "success")


@app.subscribe(pubsub_name="pubsub", topic=ROUTED, rule=Rule('event.type == "important"', 1))
def important(event: v1.Event) -> None:
    note("important", event)


@app.subscribe(pubsub_name="pubsub", topic=ROUTED, rule=Rule("event.type != ''", 2))
def unimportant(event: v1.Event) -> None:
    note("unimportant", event)


@app.subscribe(pubsub_name="pubsub", topic=DEAD)
def dead_letters(event: v1.Event) -> None:
    note("dead letter", event)


@app.binding("tick")
def tick(request: BindingRequest) -> None:
    received.append({"kind": "tick", "event": {}, "traceparent": ""})


@app.method(name="echo")
def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
    metadata = {key: value[0] if isinstance(value, list) else value for key, value in request.metadata.items()}
    answer = InvokeMethodResponse(request.data, request.content_type)
    answer.headers = (
        ("x-custom", metadata.get("x-custom", "")),
        ("x-seen-traceparent", metadata.get("traceparent", "")),
        ("x-caller", metadata.get("dapr-caller-app-id", "")),
        ("x-token", metadata.get("dapr-api-token", "")),
    )
    return answer


@app.method(name="received")
def show(request: InvokeMethodRequest) -> InvokeMethodResponse:
    return InvokeMethodResponse(json.dumps(received), "application/json")


app.register_health_check(lambda: None)
app.run(int(os.environ["APP_PORT"]), listen_address="127.0.0.1")
