// check BUNDLE DRAWS: runs every conformance row of a bundle in ONNX Runtime; exits with 1 if one fails.

#include <onnxruntime_cxx_api.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using Json = nlohmann::ordered_json;

namespace {

// The graph to embed: one column per feature in, every output out.
constexpr const char* kGraph = "scorer.onnx";

// The values of one feature: numbers with NaN for missing, or texts with "" for missing.
struct Column {
  bool is_text = false;
  std::vector<float> numbers;
  std::vector<std::string> texts;
};

Column ReadColumn(const Json& values) {
  Column column;
  column.is_text = std::any_of(values.begin(), values.end(), [](const Json& value) { return value.is_string(); });
  for (const Json& value : values) {
    if (column.is_text) {
      column.texts.push_back(value.is_null() ? "" : value.get<std::string>());
    } else {
      column.numbers.push_back(value.is_null() ? std::numeric_limits<float>::quiet_NaN() : value.get<float>());
    }
  }
  return column;
}

// A tensor [rows, 1]; numbers stay in the column, texts are copied.
Ort::Value ToTensor(Column& column) {
  if (!column.is_text) {
    const int64_t shape[] = {static_cast<int64_t>(column.numbers.size()), 1};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
    return Ort::Value::CreateTensor<float>(memory, column.numbers.data(), column.numbers.size(), shape, 2);
  }
  const int64_t shape[] = {static_cast<int64_t>(column.texts.size()), 1};
  std::vector<const char*> texts;
  for (const std::string& text : column.texts) texts.push_back(text.c_str());
  Ort::AllocatorWithDefaultOptions allocator;
  auto tensor = Ort::Value::CreateTensor(allocator, shape, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
  tensor.FillStringTensor(texts.data(), texts.size());
  return tensor;
}

std::vector<double> Numbers(const Ort::Value& tensor) {
  const auto info = tensor.GetTensorTypeAndShapeInfo();
  const size_t count = info.GetElementCount();
  if (info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64) {
    const int64_t* values = tensor.GetTensorData<int64_t>();
    return {values, values + count};
  }
  const float* values = tensor.GetTensorData<float>();
  return {values, values + count};
}

// The named outputs, row after row, for users given as one column of values per feature.
std::map<std::string, std::vector<double>> Score(Ort::Session& session, const Json& columns,
                                                 const std::vector<std::string>& outputs) {
  std::vector<Column> held;
  std::vector<const char*> input_names, output_names;
  for (const auto& [name, values] : columns.items()) held.push_back(ReadColumn(values));
  for (const auto& feature : columns.items()) input_names.push_back(feature.key().c_str());
  for (const std::string& name : outputs) output_names.push_back(name.c_str());
  std::vector<Ort::Value> feeds;
  for (Column& column : held) feeds.push_back(ToTensor(column));

  const auto results = session.Run(Ort::RunOptions{nullptr}, input_names.data(), feeds.data(), feeds.size(),
                                   output_names.data(), output_names.size());
  std::map<std::string, std::vector<double>> found;
  for (size_t n = 0; n < outputs.size(); ++n) found[outputs[n]] = Numbers(results[n]);
  return found;
}

// The numbers in lists of lists; the document holds each float as its shortest text.
void Flatten(const Json& value, std::vector<double>& numbers) {
  if (!value.is_array()) {
    numbers.push_back(value.get<float>());
    return;
  }
  for (const Json& each : value) Flatten(each, numbers);
}

// The largest difference, relative for numbers above 1; NaN never counts as close.
double Difference(const std::vector<double>& expected, const std::vector<double>& found) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (expected.size() != found.size()) return kInfinity;
  double worst = 0;
  for (size_t n = 0; n < expected.size(); ++n) {
    const double share = std::abs(found[n] - expected[n]) / std::max(1.0, std::abs(expected[n]));
    if (std::isnan(share)) return kInfinity;
    worst = std::max(worst, share);
  }
  return worst;
}

// A number from 0 to 2^32 - 1: the first 8 hex digits of SHA-256.
//
// A user is in the control group if Draw("control-v1:" + id) < share * 2^32, and in the first arm whose
// cumulated share exceeds Draw("arm-v1:" + campaign + ":" + id) / 2^32.
uint32_t Draw(const std::string& text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return uint32_t{digest[0]} << 24 | uint32_t{digest[1]} << 16 | uint32_t{digest[2]} << 8 | uint32_t{digest[3]};
}

Json Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return Json::parse(file);
}

const char* Verdict(bool good) { return good ? "ok" : "WRONG"; }

bool Check(const std::string& bundle, const std::string& draws_file) {
  const Json rows = Read(bundle + "/conformance/conformance.json");
  const Json draws = Read(draws_file);
  std::vector<std::string> outputs;
  for (const auto& output : rows["tolerances"].items()) outputs.push_back(output.key());

  // ONNX Runtime reports usage to its vendor unless this is set before it starts.
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  Ort::Env environment;
  Ort::Session session(environment, (bundle + "/" + kGraph).c_str(), Ort::SessionOptions{});
  const auto found = Score(session, rows["inputs"], outputs);

  std::printf("onnxruntime %s\n", OrtGetApiBase()->GetVersionString());
  std::printf("%s: %d conformance rows\n", rows["bundle_id"].get<std::string>().c_str(), rows["rows"].get<int>());
  bool passed = true;
  for (const std::string& name : outputs) {
    std::vector<double> expected;
    Flatten(rows["outputs"][name], expected);
    const double worst = Difference(expected, found.at(name));
    const double allowed = rows["tolerances"][name];
    passed = passed && worst <= allowed;
    std::printf("%-14s worst difference %.2e, allowed %g: %s\n", name.c_str(), worst, allowed,
                Verdict(worst <= allowed));
  }
  const auto items = draws.items();
  const bool same = std::all_of(items.begin(), items.end(),
                                [](const auto& draw) { return Draw(draw.key()) == draw.value(); });
  std::printf("draws of control group and arms: %s\n", Verdict(same));
  return passed && same;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::cerr << "usage: check BUNDLE DRAWS\n";
    return 2;
  }
  try {
    return Check(arguments[1], arguments[2]) ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}
