// Steps of a program: each is named, and the first that fails ends the program with its name.

const assert = require("node:assert/strict");
const { CommunicationProtocolEnum, DaprClient, LogLevel } = require("@dapr/dapr");

const { DAPR_GRPC_PORT, DAPR_HTTP_PORT, DAPR_PROTOCOL, RUN } = process.env;
const PROTOCOL = DAPR_PROTOCOL === "grpc" ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP;
const IS_GRPC = PROTOCOL === CommunicationProtocolEnum.GRPC;

/** By what a client finds the runtime; it reads the API token from the environment by itself. */
const CLIENT = {
  daprHost: "127.0.0.1",
  daprPort: IS_GRPC ? DAPR_GRPC_PORT : DAPR_HTTP_PORT,
  communicationProtocol: PROTOCOL,
  logger: { level: LogLevel.Warn },
};

async function step(name, run) {
  try {
    await run();
  } catch (error) {
    console.error(error);
    console.log(`FAILED: ${name}`);
    process.exit(1);
  }
  console.log(`passed: ${name}`);
}

/** Asks again and again until there is an answer, and returns that. */
async function eventually(what, probe, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    const found = await probe();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}

/** Both ways in which the SDK tells an error: it throws over gRPC, and returns over HTTP what it caught. */
async function errorOf(call) {
  try {
    const answer = await call();
    assert(answer?.error, `an error expected, not ${JSON.stringify(answer)}`);
    return String(answer.error);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    return String(error.error ?? error);
  }
}

function run(main) {
  const ended = main(new DaprClient(CLIENT));
  const failed = (error) => {
    console.error(error);
    process.exit(1);
  };
  ended.then(() => console.log("all steps passed")).then(() => process.exit(0), failed);
}

module.exports = { CLIENT, IS_GRPC, PROTOCOL, RUN, assert, errorOf, eventually, run, step };
