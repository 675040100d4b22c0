"""An application over HTTP: FastAPI with the SDK's extension. What it got is asked of it by the method `received`."""

import os
from collections import Counter

import uvicorn
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI, Request, Response

RUN = os.environ["RUN"]

app = FastAPI()
dapr_app = DaprApp(app)
received = []
deliveries = Counter()


def note(kind, event, request):
    received.append({"kind": kind, "event": event, "traceparent": request.headers.get("traceparent", "")})


@dapr_app.subscribe(pubsub="pubsub", topic=f"http-orders-{RUN}", dead_letter_topic=f"http-dead-{RUN}")
async def orders(request: Request, event=Body()):
    note("order", event, request)
    return {"status": "DROP" if event["data"] == "drop" else "SUCCESS"}


# Without dead letters: where there are some, a message that is asked for again becomes one.
@dapr_app.subscribe(pubsub="pubsub", topic=f"http-again-{RUN}")
async def again(request: Request, event=Body()):
    deliveries[event["id"]] += 1
    note("again", event, request)
    return {"status": "RETRY" if deliveries[event["id"]] == 1 else "SUCCESS"}


@dapr_app.subscribe(pubsub="pubsub", topic=f"http-dead-{RUN}", route="/dead-letters")
async def dead_letters(request: Request, event=Body()):
    note("dead letter", event, request)


# What a Subscription file declares.
@app.post("/declared")
async def declared(request: Request, event=Body()):
    note("declared", event, request)


@app.post("/tick")
async def tick(request: Request):
    note("tick", {}, request)


@app.api_route("/echo", methods=["GET", "POST", "PUT", "DELETE"])
async def echo(request: Request):
    body = await request.body()
    return Response(
        content=body,
        media_type=request.headers.get("content-type"),
        headers={
            "x-verb": request.method,
            "x-query": request.url.query,
            "x-custom": request.headers.get("x-custom", ""),
            "x-seen-traceparent": request.headers.get("traceparent", ""),
            "x-caller": request.headers.get("dapr-caller-app-id", ""),
        },
    )


@app.post("/refuse")
async def refuse():
    return Response(status_code=403, content="not you", media_type="text/plain")


@app.api_route("/received", methods=["GET", "POST"])
async def show():
    return received


@app.middleware("http")
async def only_the_runtime(request: Request, call_next):
    if request.headers.get("dapr-api-token") != os.environ["APP_API_TOKEN"]:
        return Response(status_code=401)
    return await call_next(request)


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
