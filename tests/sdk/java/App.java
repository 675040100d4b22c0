import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.dapr.client.domain.CloudEvent;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;

/** An application over HTTP without a framework. What it got is asked of it by the method `received`. */
final class App {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String NAME = Steps.need("APP_ID").split("-")[0];

  private final Queue<Map<String, Object>> received = new ConcurrentLinkedQueue<>();

  /** What answers a request. */
  interface Handler {
    Object handle(HttpExchange exchange, byte[] body) throws IOException;
  }

  public static void main(String[] args) throws IOException {
    App app = new App();
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(Steps.need("APP_PORT"))), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    on(server, "/dapr/subscribe", (exchange, body) -> subscriptions());
    on(server, "/orders", (exchange, body) -> status(app.note("order", exchange, body).contains("drop") ? "DROP" : "SUCCESS"));
    on(server, "/dead", (exchange, body) -> status(app.note("dead letter", exchange, body).isEmpty() ? "RETRY" : "SUCCESS"));
    on(server, "/again", (exchange, body) -> app.again(exchange, body));
    on(server, "/important", (exchange, body) -> app.note("important", exchange, body));
    on(server, "/unimportant", (exchange, body) -> app.note("unimportant", exchange, body));
    on(server, "/declared", (exchange, body) -> app.note("declared", exchange, body));
    on(server, "/tick", (exchange, body) -> app.received.add(Map.of("kind", "tick", "data", "", "id", "", "trace", "")));
    on(server, "/echo", App::echo);
    on(server, "/received", (exchange, body) -> app.received);
    server.start();
  }

  private static void on(HttpServer server, String path, Handler handler) {
    server.createContext(path, exchange -> {
      try (exchange) {
        byte[] body = exchange.getRequestBody().readAllBytes();
        if (!Steps.need("APP_API_TOKEN").equals(header(exchange, "dapr-api-token"))) {
          exchange.sendResponseHeaders(401, -1);
          return;
        }
        byte[] answer = JSON.writeValueAsBytes(handler.handle(exchange, body));
        exchange.getResponseHeaders().add("content-type", "application/json");
        exchange.sendResponseHeaders(200, answer.length);
        exchange.getResponseBody().write(answer);
      }
    });
  }

  static String topic(String app, String name) {
    return app + "-" + name + "-" + Steps.RUN;
  }

  private static List<Map<String, Object>> subscriptions() {
    var rules = List.of(Map.of("match", "event.type == \"important\"", "path", "/important"));
    return List.of(
        Map.of("pubsubname", "pubsub", "topic", topic(NAME, "orders"), "route", "/orders",
            "deadLetterTopic", topic(NAME, "dead")),
        Map.of("pubsubname", "pubsub", "topic", topic(NAME, "dead"), "route", "/dead"),
        Map.of("pubsubname", "pubsub", "topic", topic(NAME, "again"), "route", "/again"),
        Map.of("pubsubname", "pubsub", "topic", topic(NAME, "routed"),
            "routes", Map.of("rules", rules, "default", "/unimportant")));
  }

  private String note(String kind, HttpExchange exchange, byte[] body) throws IOException {
    CloudEvent<?> event = CloudEvent.deserialize(body);
    String data = String.valueOf(event.getData());
    String trace = header(exchange, "traceparent") + " " + event.getTraceParent();
    received.add(Map.of("kind", kind, "data", data, "id", event.getId(), "trace", trace));
    return data;
  }

  /** Without dead letters: where there are some, a message that is asked for again becomes one. */
  private Object again(HttpExchange exchange, byte[] body) throws IOException {
    note("again", exchange, body);
    String id = CloudEvent.deserialize(body).getId();
    return status(received.stream().filter(it -> it.get("id").equals(id)).count() == 1 ? "RETRY" : "SUCCESS");
  }

  private static Map<String, String> status(String status) {
    return Map.of("status", status);
  }

  private static Object echo(HttpExchange exchange, byte[] body) {
    return Map.of(
        "verb", exchange.getRequestMethod(),
        "query", String.valueOf(exchange.getRequestURI().getRawQuery()),
        "body", new String(body, StandardCharsets.UTF_8),
        "custom", header(exchange, "x-custom"),
        "caller", header(exchange, "dapr-caller-app-id"),
        "trace", header(exchange, "traceparent"));
  }

  private static String header(HttpExchange exchange, String name) {
    return String.valueOf(exchange.getRequestHeaders().getFirst(name));
  }
}
