import com.fasterxml.jackson.databind.JsonNode;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprHttp;
import io.dapr.client.domain.HttpExtension;
import io.dapr.client.domain.PublishEventRequest;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** Calls the application at another runtime and at its own, and publishes to both. */
final class Caller {
  private final DaprClient dapr;
  private final String app;
  private final String name;

  private Caller(DaprClient dapr, String app) {
    this.dapr = dapr;
    this.app = app;
    this.name = app.split("-")[0];
  }

  public static void main(String[] args) throws Exception {
    DaprClient dapr = new DaprClientBuilder().build();
    dapr.waitForSidecar(10_000).block();
    for (String app : List.of(Steps.need("APP_ID"), Steps.need("TARGET_APP_ID"))) {
      Caller caller = new Caller(dapr, app);
      caller.invocation();
      caller.messages();
      Steps.step("input binding of " + caller.name,
          () -> Steps.eventually("a tick", () -> !caller.received("tick").isEmpty()));
    }
    Steps.step("an unknown application", () -> Steps.fails("nobody",
        () -> dapr.invokeMethod("nobody", "echo", Map.of(), HttpExtension.POST, JsonNode.class).block()));
    Steps.finish();
  }

  private void invocation() {
    for (DaprHttp.HttpMethods verb : List.of(DaprHttp.HttpMethods.POST, DaprHttp.HttpMethods.PUT, DaprHttp.HttpMethods.DELETE)) {
      Steps.step("invoke " + name + " by " + verb, () -> {
        var extension = new HttpExtension(verb, Map.of("a", List.of("1")), Map.of("x-custom", "mine"));
        JsonNode answer = dapr.invokeMethod(app, "echo", Map.of("a", "ä"), extension, JsonNode.class).block();
        Steps.equal(answer.get("verb").asText(), verb.name());
        Steps.equal(answer.get("query").asText(), "a=1");
        // The SDK sends no body with this one.
        String body = verb == DaprHttp.HttpMethods.DELETE ? "" : "{\"a\":\"ä\"}";
        Steps.equal(answer.get("body").asText(), body);
        Steps.equal(answer.get("custom").asText(), "mine");
        Steps.equal(answer.get("caller").asText(), Steps.need("APP_ID"));
      });
    }

    Steps.step("a trace passes to " + name, () -> {
      String trace = UUID.randomUUID().toString().replace("-", "");
      JsonNode answer = dapr.invokeMethod(app, "echo", Map.of(), HttpExtension.POST, JsonNode.class)
          .contextWrite(context -> context.put("traceparent", traceParent(trace))).block();
      Steps.equal(answer.get("trace").asText().split("-")[1], trace);
    });
  }

  private void messages() {
    Steps.step("publish to " + name, () -> publish("orders", "keep", Map.of(), List.of("order")));
    Steps.step("dead letters of " + name, () -> publish("orders", "drop", Map.of(), List.of("order", "dead letter")));
    Steps.step("retry at " + name, () -> publish("again", "keep", Map.of(), List.of("again", "again")));
    Steps.step("declared subscription", () -> publish("declared", "keep", Map.of(), List.of("declared")));
    for (String type : List.of("important", "unimportant")) {
      Steps.step("routing rule for what is " + type,
          () -> publish("routed", "keep", Map.of("cloudevent.type", type), List.of(type)));
    }
  }

  /** Sends an event in a trace and waits for it to come as often as there are kinds, as these. */
  private void publish(String topic, String please, Map<String, String> metadata, List<String> kinds) throws Exception {
    String trace = UUID.randomUUID().toString().replace("-", "");
    String data = please + " " + trace;
    dapr.publishEvent(new PublishEventRequest("pubsub", App.topic(name, topic), data).setMetadata(metadata))
        .contextWrite(context -> context.put("traceparent", traceParent(trace))).block();
    Steps.eventually("it arrives", () -> received(data).size() >= kinds.size());
    List<JsonNode> found = received(data);
    Steps.equal(found.stream().map(it -> it.get("kind").asText()).toList(), kinds);
    Steps.equal(found.get(0).get("trace").asText().split(trace, -1).length, 3);
  }

  private static String traceParent(String trace) {
    return "00-" + trace + "-00f067aa0ba902b7-01";
  }

  /** What came to the application of this kind, or with this data. */
  private List<JsonNode> received(String text) {
    List<JsonNode> found = new ArrayList<>();
    dapr.invokeMethod(app, "received", null, HttpExtension.GET, JsonNode.class).block().forEach(it -> {
      if (it.get("kind").asText().equals(text) || it.get("data").asText().equals(text)) {
        found.add(it);
      }
    });
    return found;
  }
}
