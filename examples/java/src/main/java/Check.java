import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.StreamSupport;

/** {@code Check BUNDLE DRAWS}: runs every conformance row of a bundle; exits with 1 if one fails. */
public final class Check {
  /** The graph to embed: one column per feature in, every output out. */
  private static final String GRAPH = "scorer.onnx";

  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 2) {
      System.err.println("usage: Check BUNDLE DRAWS");
      System.exit(2);
    }
    Path bundle = Path.of(arguments[0]);
    JsonNode rows = JSON.readTree(bundle.resolve("conformance/conformance.json").toFile());
    JsonNode draws = JSON.readTree(Path.of(arguments[1]).toFile());

    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    environment.setTelemetry(false);
    System.out.println("onnxruntime " + environment.getVersion());
    System.out.printf("%s: %d conformance rows%n", rows.get("bundle_id").textValue(), rows.get("rows").intValue());
    boolean passed = true;
    try (OrtSession session = environment.createSession(bundle.resolve(GRAPH).toString())) {
      Map<String, double[]> found = score(environment, session, rows.get("inputs"));
      for (Map.Entry<String, JsonNode> output : rows.get("tolerances").properties()) {
        String name = output.getKey();
        double worst = difference(flat(rows.get("outputs").get(name)), found.get(name));
        double allowed = output.getValue().doubleValue();
        passed &= worst <= allowed;
        System.out.printf("%-14s worst difference %.2e, allowed %s: %s%n", name, worst, allowed, verdict(worst <= allowed));
      }
    }
    boolean same = draws.properties().stream().allMatch(draw -> draw(draw.getKey()) == draw.getValue().longValue());
    System.out.println("draws of control group and arms: " + verdict(same));
    System.exit(passed && same ? 0 : 1);
  }

  /** Every output by name, row after row, for users given as one column of values per feature. */
  private static Map<String, double[]> score(OrtEnvironment environment, OrtSession session, JsonNode columns)
      throws OrtException {
    Map<String, OnnxTensor> feeds = new HashMap<>();
    try {
      for (Map.Entry<String, NodeInfo> input : session.getInputInfo().entrySet()) {
        TensorInfo info = (TensorInfo) input.getValue().getInfo();
        feeds.put(input.getKey(), column(environment, info, columns.get(input.getKey())));
      }
      Map<String, double[]> outputs = new HashMap<>();
      try (OrtSession.Result result = session.run(feeds)) {
        for (Map.Entry<String, OnnxValue> output : result) {
          outputs.put(output.getKey(), numbers((OnnxTensor) output.getValue()));
        }
      }
      return outputs;
    } finally {
      feeds.values().forEach(OnnxTensor::close);
    }
  }

  /** A tensor [rows, 1]; a missing value is NaN or an empty text. */
  private static OnnxTensor column(OrtEnvironment environment, TensorInfo info, JsonNode values) throws OrtException {
    long[] shape = {values.size(), 1};
    if (info.type == OnnxJavaType.STRING) {
      String[] texts = new String[values.size()];
      for (int row = 0; row < texts.length; row++) {
        texts[row] = values.get(row).asText("");
      }
      return OnnxTensor.createTensor(environment, texts, shape);
    }
    FloatBuffer numbers = FloatBuffer.allocate(values.size());
    values.forEach(value -> numbers.put(value.isNull() ? Float.NaN : value.floatValue()));
    return OnnxTensor.createTensor(environment, numbers.rewind(), shape);
  }

  private static double[] numbers(OnnxTensor tensor) {
    if (tensor.getInfo().type == OnnxJavaType.INT64) {
      long[] values = new long[tensor.getLongBuffer().remaining()];
      tensor.getLongBuffer().get(values);
      return LongStream.of(values).asDoubleStream().toArray();
    }
    FloatBuffer values = tensor.getFloatBuffer();
    return IntStream.range(0, values.remaining()).mapToDouble(values::get).toArray();
  }

  /** Numbers in lists of lists; the document holds each float as its shortest text. */
  private static double[] flat(JsonNode values) {
    if (values.isNumber()) {
      return new double[] {values.isInt() ? values.intValue() : values.floatValue()};
    }
    return StreamSupport.stream(values.spliterator(), false).flatMapToDouble(value -> DoubleStream.of(flat(value))).toArray();
  }

  /** The largest difference, relative for numbers above 1; NaN never counts as close. */
  private static double difference(double[] expected, double[] found) {
    if (expected.length != found.length) {
      return Double.POSITIVE_INFINITY;
    }
    return IntStream.range(0, expected.length)
        .mapToDouble(n -> Math.abs(found[n] - expected[n]) / Math.max(1, Math.abs(expected[n])))
        .map(share -> Double.isNaN(share) ? Double.POSITIVE_INFINITY : share)
        .max()
        .orElse(Double.POSITIVE_INFINITY);
  }

  /**
   * A number from 0 to 2³² − 1: the first 8 hex digits of SHA-256.
   *
   * <p>A user is in the control group if {@code draw("control-v1:" + id) < share * 2³²}, and in the first arm whose
   * cumulated share exceeds {@code draw("arm-v1:" + campaign + ":" + id) / 2³²}.
   */
  static long draw(String text) {
    try {
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
      return Long.parseLong(HexFormat.of().formatHex(digest, 0, 4), 16);
    } catch (NoSuchAlgorithmException error) {
      throw new AssertionError(error);
    }
  }

  private static String verdict(boolean good) {
    return good ? "ok" : "WRONG";
  }
}
