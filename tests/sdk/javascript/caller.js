// Calls the application at another runtime and at its own, and publishes to both.

const { randomUUID } = require("node:crypto");
const { HttpMethod } = require("@dapr/dapr");
const { IS_GRPC, RUN, assert, eventually, run, step } = require("./steps");

const { APP_API_TOKEN, APP_ID: OWN, TARGET_APP_ID: TARGET } = process.env;
const TRACE = randomUUID().replaceAll("-", "");

/** `http` or `grpc`: how the application serves. */
const kindOf = (appId) => appId.split("-")[0];

async function received(dapr, appId, name) {
  const answer = await dapr.invoker.invoke(appId, "received", HttpMethod.GET);
  return answer.received.filter((entry) => entry.kind === name || entry.data?.name === name);
}

async function invocation(dapr, appId) {
  const kind = kindOf(appId);
  for (const method of [HttpMethod.POST, HttpMethod.PUT]) {
    await step(`invoke ${kind} by ${method}`, async () => {
      const body = { to: appId, text: "ä" };
      const answer = await dapr.invoker.invoke(appId, "echo", method, body);
      assert.equal(answer.method, method);
      assert.deepEqual(JSON.parse(answer.body), body);
    });
  }

  for (const method of [HttpMethod.GET, HttpMethod.DELETE]) {
    await step(`invoke ${kind} by ${method}`, async () => {
      assert.equal((await dapr.invoker.invoke(appId, "echo", method)).method, method);
    });
  }

  // The SDK sends no headers over gRPC and shows none to an application on gRPC.
  if (IS_GRPC || kind === "grpc") return;
  await step("headers, query and trace", async () => {
    const headers = { "x-custom": "mine", traceparent: `00-${TRACE}-00f067aa0ba902b7-01` };
    const answer = await dapr.invoker.invoke(appId, "echo?a=1&b=x%20y", HttpMethod.POST, {}, { headers });
    assert.equal(answer.headers["x-custom"], "mine");
    assert.equal(answer.headers["dapr-caller-app-id"], OWN);
    assert.equal(answer.headers["dapr-api-token"], APP_API_TOKEN);
    assert.equal(answer.headers.traceparent.split("-")[1], TRACE);
    assert.equal(answer.query, "/echo?a=1&b=x%20y");
  });
}

async function messages(dapr, appId) {
  const kind = kindOf(appId);
  const publish = (topic, data, options) => dapr.pubsub.publish("pubsub", `${kind}-${topic}-${RUN}`, data, options);

  await step(`publish to ${kind}`, async () => {
    const order = { name: randomUUID(), items: ["ä", 1] };
    await publish("orders", order);
    const [entry] = await eventually("it arrives", async () => {
      const found = await received(dapr, appId, order.name);
      return found.length ? found : undefined;
    });
    assert.deepEqual([entry.kind, entry.data], ["order", order]);
    assert.match(entry.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
    assert.equal(entry.token, APP_API_TOKEN);
  });

  const twice = [
    ["again", "retry", ["again", "again"]],
    ["orders", "drop", ["order", "dead letter"]],
  ];
  for (const [topic, please, kinds] of twice) {
    await step(`${please} at ${kind}`, async () => {
      const name = randomUUID();
      await publish(topic, { name, please });
      const found = await eventually("it comes twice", async () => {
        const found = await received(dapr, appId, name);
        return found.length > 1 ? found : undefined;
      });
      assert.deepEqual(found.map((entry) => entry.kind), kinds);
    });
  }

  // Over gRPC the SDK hands on only what the application has subscribed to itself.
  if (kind === "http") {
    await step("declared subscription", async () => {
      const name = randomUUID();
      await publish("declared", { name });
      const entry = await eventually("it arrives", async () => (await received(dapr, appId, name))[0]);
      assert.deepEqual([entry.kind, entry.token], ["declared", APP_API_TOKEN]);
    });
  }

  for (const type of ["important", "unimportant"]) {
    await step(`routing rule for what is ${type}`, async () => {
      const name = randomUUID();
      await publish("routed", { name }, { metadata: { "cloudevent.type": type } });
      const entry = await eventually("it arrives", async () => (await received(dapr, appId, name))[0]);
      assert.equal(entry.kind, type);
    });
  }

  await step(`bulk publish to a bulk subscription of ${kind}`, async () => {
    const names = [randomUUID(), randomUUID(), randomUUID()];
    const events = names.map((name) => ({ name }));
    const answer = await dapr.pubsub.publishBulk("pubsub", `${kind}-bulk-${RUN}`, events);
    assert.deepEqual(answer, { failedMessages: [] });
    for (const name of names) {
      const entry = await eventually("each arrives", async () => (await received(dapr, appId, name))[0]);
      assert.equal(entry.kind, "bulk");
    }
  });

  await step(`input binding of ${kind}`, async () => {
    await eventually("a tick", async () => (await received(dapr, appId, "tick")).length);
  });
}

run(async (dapr) => {
  await dapr.start();
  for (const appId of [OWN, TARGET]) {
    await invocation(dapr, appId);
    await messages(dapr, appId);
  }
  await step("an unknown application", async () => {
    await assert.rejects(dapr.invoker.invoke("nobody", "echo", HttpMethod.POST, {}), /nobody/);
  });
});
