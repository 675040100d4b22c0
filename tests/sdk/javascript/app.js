// An application by the SDK's server, over the protocol that DAPR_PROTOCOL names. What it got is asked of it by the method
// `received`.

const { DaprPubSubStatusEnum, DaprServer, HttpMethod } = require("@dapr/dapr");
const { CLIENT, PROTOCOL, RUN } = require("./steps");

const KIND = process.env.DAPR_PROTOCOL;
const ORDERS = `${KIND}-orders-${RUN}`;

const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.APP_PORT,
  communicationProtocol: PROTOCOL,
  clientOptions: CLIENT,
  logger: CLIENT.logger,
});
const received = [];

function note(kind, data, headers) {
  const { traceparent = "", "dapr-api-token": token = "" } = headers ?? {};
  received.push({ kind, data, traceparent, token });
}

async function orders(data, headers) {
  note("order", data, headers);
  return data.please === "drop" ? DaprPubSubStatusEnum.DROP : DaprPubSubStatusEnum.SUCCESS;
}

/** Without dead letters: where there are some, a message that is asked for again becomes one. */
async function again(data, headers) {
  note("again", data, headers);
  const times = received.filter((entry) => entry.kind === "again" && entry.data.name === data.name).length;
  return times === 1 ? DaprPubSubStatusEnum.RETRY : DaprPubSubStatusEnum.SUCCESS;
}

function noting(kind) {
  return async (data, headers) => note(kind, data, headers);
}

async function main() {
  const { binding, invoker, pubsub } = server;
  await pubsub.subscribeWithOptions("pubsub", ORDERS, { callback: orders, deadLetterTopic: `${KIND}-dead-${RUN}` });
  await pubsub.subscribe("pubsub", `${KIND}-dead-${RUN}`, noting("dead letter"));
  await pubsub.subscribe("pubsub", `${KIND}-again-${RUN}`, again);
  await pubsub.subscribeBulk("pubsub", `${KIND}-bulk-${RUN}`, noting("bulk"), { maxMessagesCount: 10 });
  const routes = { default: "unimportant", rules: [{ match: `event.type == "important"`, path: "important" }] };
  await pubsub.subscribeWithOptions("pubsub", `${KIND}-routed-${RUN}`, { route: routes });
  pubsub.subscribeToRoute("pubsub", `${KIND}-routed-${RUN}`, "important", noting("important"));
  pubsub.subscribeToRoute("pubsub", `${KIND}-routed-${RUN}`, "unimportant", noting("unimportant"));
  await binding.receive("tick", async () => note("tick", ""));
  for (const method of [HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.DELETE]) {
    await invoker.listen("echo", async ({ body, query, headers }) => ({ method, body, query, headers }), { method });
  }
  await invoker.listen("received", async () => ({ received }), { method: HttpMethod.GET });
  // What a Subscription file declares: the SDK takes it for a call.
  await invoker.listen("declared", async ({ body, headers }) => note("declared", JSON.parse(body).data, headers), {
    method: HttpMethod.POST,
  });
  await server.start();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
