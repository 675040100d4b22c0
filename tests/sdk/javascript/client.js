// What a program without a server of its own does with the SDK, over the protocol that DAPR_PROTOCOL names.

const { randomBytes } = require("node:crypto");
const { buffer } = require("node:stream/consumers");
const { Readable } = require("node:stream");
const { StateConcurrencyEnum, StateConsistencyEnum } = require("@dapr/dapr");
const { IS_GRPC, RUN, assert, errorOf, eventually, run, step } = require("./steps");

const { APP_ID, CONFIGURATION_WRITER } = process.env;
const FIRST_WRITE = {
  concurrency: StateConcurrencyEnum.CONCURRENCY_FIRST_WRITE,
  consistency: StateConsistencyEnum.CONSISTENCY_STRONG,
};

async function metadata(dapr) {
  await step("health", async () => {
    await dapr.start();
    assert.equal(await dapr.health.isHealthy(), true);
  });

  await step("metadata", async () => {
    const found = await dapr.metadata.get();
    assert.equal(found.id, APP_ID);
    const store = found.components.find((component) => component.name === "statestore");
    assert(store.capabilities.includes("ETAG"), JSON.stringify(store));
    assert.equal(await dapr.metadata.set("colour", "green"), true);
    const extended = (await dapr.metadata.get()).extended;
    assert.equal(extended.colour, "green");
  });
}

async function state(dapr, store) {
  const value = (key) => dapr.state.get(store, key);
  const etag = async (key) => (await dapr.state.getBulk(store, [key]))[0].etag;

  await step(`${store}: save, get, delete`, async () => {
    assert.equal(await value("k"), "");
    assert.deepEqual(await dapr.state.save(store, [{ key: "k", value: { a: [1, "two"] } }]), {});
    assert.deepEqual(await value("k"), { a: [1, "two"] });
    assert.deepEqual(await dapr.state.delete(store, "k"), {});
    assert.equal(await value("k"), "");
  });

  await step(`${store}: etags`, async () => {
    await dapr.state.save(store, [{ key: "k", value: "v1" }]);
    const old = await etag("k");
    const saved = await dapr.state.save(store, [{ key: "k", value: "v2", etag: old, options: FIRST_WRITE }]);
    assert.deepEqual(saved, {});
    const save = () => dapr.state.save(store, [{ key: "k", value: "v3", etag: old, options: FIRST_WRITE }]);
    assert.match(await errorOf(save), /etag/i);
    assert.match(await errorOf(() => dapr.state.delete(store, "k", { etag: old, ...FIRST_WRITE })), /etag/i);
    assert.equal(await value("k"), "v2");
    assert.deepEqual(await dapr.state.delete(store, "k", { etag: await etag("k"), ...FIRST_WRITE }), {});
    assert.equal(await value("k"), "");
  });

  await step(`${store}: bulk`, async () => {
    await dapr.state.save(store, [
      { key: "a", value: "one" },
      { key: "b", value: { two: 2 } },
    ]);
    const items = await dapr.state.getBulk(store, ["a", "b", "none"], { parallelism: 2 });
    const data = Object.fromEntries(items.map((item) => [item.key, item.data || ""]));
    assert.deepEqual(data, { a: "one", b: { two: 2 }, none: "" });
  });

  await step(`${store}: transaction`, async () => {
    await dapr.state.transaction(store, [
      { operation: "upsert", request: { key: "a", value: "x" } },
      { operation: "delete", request: { key: "b" } },
    ]);
    assert.deepEqual([await value("a"), await value("b")], ["x", ""]);
  });

  await step(`${store}: time to live`, async () => {
    await dapr.state.save(store, [{ key: "short", value: "lived", metadata: { ttlInSeconds: "3" } }]);
    assert.equal(await value("short"), "lived");
    await eventually("it expires", async () => (await value("short")) === "");
  });

  await step("an unknown state store", async () => {
    assert.match(await errorOf(() => dapr.state.save("nowhere", [{ key: "k", value: "v" }])), /nowhere/);
  });
}

async function publishing(dapr) {
  await step("publish", async () => {
    for (const data of [{ n: 1 }, "text", Buffer.from([0, 255])]) {
      assert.deepEqual(await dapr.pubsub.publish("pubsub", `none-${RUN}`, data), {});
    }
    const messages = ["one", { event: { n: 2 }, entryID: "second", contentType: "application/json" }];
    const answer = await dapr.pubsub.publishBulk("pubsub", `none-${RUN}`, messages);
    assert.deepEqual(answer, { failedMessages: [] });
  });

  await step("publishing to an unknown component", async () => {
    assert.match(await errorOf(() => dapr.pubsub.publish("nowhere", "topic", "x")), /nowhere/);
    const answer = await dapr.pubsub.publishBulk("nowhere", "topic", ["x", "y"]);
    assert.equal(answer.failedMessages.length, 2);
  });
}

async function bindingsAndSecrets(dapr) {
  await step("output binding", async () => {
    const name = { fileName: "a/javascript.txt", key: "a/javascript.txt" };
    await dapr.binding.send("files", "create", "some text!", name);
    const found = await dapr.binding.send("files", "get", undefined, name);
    assert.equal(IS_GRPC ? Buffer.from(found.data).toString() : found, "some text!");
    await dapr.binding.send("files", "delete", undefined, name);
    await assert.rejects(dapr.binding.send("files", "get", undefined, name), /not found/);
  });

  await step("secrets", async () => {
    assert.deepEqual(await dapr.secret.get("secrets", "password"), { password: "open sesame" });
    const everything = await dapr.secret.getBulk("secrets");
    assert.deepEqual(everything["db:user"], { "db:user": "scott" });
    await assert.rejects(dapr.secret.get("secrets", "none"), /none/);
  });
}

async function lock(dapr) {
  const resource = `resource-js-${IS_GRPC}-${RUN}`;
  await step("lock", async () => {
    assert.deepEqual(await dapr.lock.lock("lockstore", resource, "me", 20), { success: true });
    assert.deepEqual(await dapr.lock.lock("lockstore", resource, "you", 20), { success: false });
    const statuses = [];
    for (const owner of ["you", "me", "me"]) {
      statuses.push((await dapr.lock.unlock("lockstore", resource, owner)).status);
    }
    // Belongs to others, success, does not exist: the SDK's own numbers.
    assert.deepEqual(statuses, [2, 0, 1]);
  });
}

/** The SDK has neither over HTTP. */
async function configuration(dapr) {
  const key = CONFIGURATION_WRITER ? `greeting-js-${RUN}` : "greeting";
  const write = (text) => dapr.binding.send(CONFIGURATION_WRITER, "create", text, { key });
  if (CONFIGURATION_WRITER) await write("hello||1");

  await step("configuration", async () => {
    const { items } = await dapr.configuration.get("configstore", [key]);
    assert.deepEqual([items[key].value, items[key].version], ["hello", "1"]);
  });

  await step("configuration changes", async () => {
    const seen = [];
    const take = async ({ items }) => void seen.push(items[key]?.value);
    const stream = await dapr.configuration.subscribeWithKeys("configstore", [key], take);
    // The SDK does not tell when its watch stands: what is written before that is not seen, by any runtime.
    let written = 1;
    const change = async () => {
      await write(`good bye||${(written += 1)}`);
      return seen.includes("good bye");
    };
    if (CONFIGURATION_WRITER) await eventually("the change arrives", change);
    await stream.stop();
  });
}

async function cryptography(dapr) {
  const wrap = { componentName: "keys", keyName: "mykey", keyWrapAlgorithm: "AES" };
  await step("encrypt and decrypt", async () => {
    const plain = randomBytes(300_000);
    const document = await dapr.crypto.encrypt(plain, wrap);
    assert.equal(document.subarray(0, 15).toString(), "dapr.io/enc/v1\n");
    assert.deepEqual(await dapr.crypto.decrypt(document, { componentName: "keys" }), plain);
  });

  await step("encrypt and decrypt as streams", async () => {
    const plain = randomBytes(200_000);
    const encrypted = Readable.from([plain.subarray(0, 7), plain.subarray(7)]).pipe(await dapr.crypto.encrypt(wrap));
    const decrypted = encrypted.pipe(await dapr.crypto.decrypt({ componentName: "keys" }));
    assert.deepEqual(await buffer(decrypted), plain);
  });
}

run(async (dapr) => {
  await metadata(dapr);
  const stores = (await dapr.metadata.get()).components.map((component) => component.name);
  for (const store of ["statestore", "memorystore"]) {
    if (stores.includes(store)) await state(dapr, store);
  }
  await publishing(dapr);
  await bindingsAndSecrets(dapr);
  await lock(dapr);
  if (IS_GRPC) {
    await configuration(dapr);
    await cryptography(dapr);
  }
  await step("shutdown", () => dapr.sidecar.shutdown());
});
