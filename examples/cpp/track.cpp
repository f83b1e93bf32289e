// Tracks one target through pictures with the exported graphs of a bundle, and nothing of Python.
//
//   make test-cpp                                   builds it and compares it with Python
//   track BUNDLE x,y,w,h frame0.png frame1.png ...  prints one line a frame: x,y,w,h,score
//
// The tracker is the contract of docs/tracker.md ("In other languages"). Built with
// -DWITH_ONNXRUNTIME it runs in ONNX Runtime, else in OpenVINO. Letters: T template size, S search
// size, L layers, B batch (1 here).

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#ifdef WITH_ONNXRUNTIME
#include <onnxruntime_cxx_api.h>
#else
#include <openvino/openvino.hpp>
#endif

struct Box { double x, y, w, h; };
struct Answer { float box[4]; float score; };

#ifdef WITH_ONNXRUNTIME
// The memory stays an Ort::Value: it goes from one graph to the other as it is.
class Engine {
 public:
  explicit Engine(const std::string& folder)
      : template_(env_, (folder + "/template.onnx").c_str(), Ort::SessionOptions{}),
        search_(env_, (folder + "/search.onnx").c_str(), Ort::SessionOptions{}) {}

  void encode(std::vector<uint8_t>& pictures, int64_t side) {
    const int64_t shape[] = {1, 2, side, side, 3};
    Ort::Value given = Ort::Value::CreateTensor<uint8_t>(cpu_, pictures.data(), pictures.size(), shape, 5);
    const char* in[] = {"templates"};
    const char* out[] = {"memory"};
    memory_ = std::move(template_.Run(Ort::RunOptions{}, in, &given, 1, out, 1)[0]);
  }

  Answer step(cv::Mat& crop) {
    const int64_t shape[] = {1, crop.rows, crop.cols, 3};
    std::vector<Ort::Value> given;
    given.push_back(Ort::Value::CreateTensor<uint8_t>(cpu_, crop.data, crop.total() * 3, shape, 4));
    given.push_back(std::move(memory_));
    const char* in[] = {"search", "memory"};
    const char* out[] = {"boxes", "scores"};
    auto found = search_.Run(Ort::RunOptions{}, in, given.data(), 2, out, 2);
    memory_ = std::move(given[1]);
    Answer answer{};
    std::copy_n(found[0].GetTensorData<float>(), 4, answer.box);
    answer.score = found[1].GetTensorData<float>()[0];
    return answer;
  }

 private:
  Ort::Env env_;
  Ort::MemoryInfo cpu_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  Ort::Session template_, search_;
  Ort::Value memory_{nullptr};
};
#else
class Engine {
 public:
  explicit Engine(const std::string& folder) {
    const ov::AnyMap exact{{"INFERENCE_PRECISION_HINT", "f32"}, {"PERFORMANCE_HINT", "LATENCY"}};
    template_ = core_.compile_model(folder + "/template.onnx", "CPU", exact).create_infer_request();
    search_ = core_.compile_model(folder + "/search.onnx", "CPU", exact).create_infer_request();
  }

  void encode(std::vector<uint8_t>& pictures, size_t side) {
    template_.set_tensor("templates", ov::Tensor(ov::element::u8, {1, 2, side, side, 3}, pictures.data()));
    template_.infer();
    search_.set_tensor("memory", template_.get_tensor("memory"));
  }

  Answer step(cv::Mat& crop) {
    const ov::Shape shape{1, size_t(crop.rows), size_t(crop.cols), 3};
    search_.set_tensor("search", ov::Tensor(ov::element::u8, shape, crop.data));
    search_.infer();
    Answer answer{};
    std::copy_n(search_.get_tensor("boxes").data<float>(), 4, answer.box);
    answer.score = search_.get_tensor("scores").data<float>()[0];
    return answer;
  }

 private:
  ov::Core core_;
  ov::InferRequest template_, search_;
};
#endif

// A file's JSON, as OpenCV 4 reads it: it knows no null, which says nothing here that is asked for.
std::string read_json(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') ++i;
    else if (text[i] == '"') quoted = !quoted;
    else if (!quoted && text.compare(i, 4, "null") == 0) text.replace(i, 4, "0");
  }
  return text;
}

// Settings that change what is answered and that this program does not have, with the values that
// leave them off. Further ones do nothing without these, or are for the states and many targets.
struct Off { const char* name; double value; };
const Off kOff[] = {{"mirror", 0}, {"search_lead", 0}, {"search_growth", 1}, {"max_scale_change", 0},
                    {"size_damping", 0}, {"smooth_hz", 0}, {"long_term", 0}, {"still_below", 0},
                    {"search_middle", 0}};
const char* const kKnown[] = {
    "template_size", "search_size", "template_factor", "search_factor", "min_size", "update_interval",
    "update_threshold", "lost_below", "lost_until", "uncertain_below", "uncertain_until",
    "search_growth_max", "smooth_gain", "redetect_score", "redetect_frames", "redetect_tiles",
    "middle_below", "middle_after", "apart", "box_style"};

void refuse_unknown(const cv::FileNode& tracker) {
  for (cv::FileNodeIterator it = tracker.begin(); it != tracker.end(); ++it) {
    const std::string name = (*it).name();
    const auto off = std::find_if(std::begin(kOff), std::end(kOff), [&](const Off& o) { return name == o.name; });
    if (off != std::end(kOff)) {
      if (double(*it) == off->value) continue;
      char wanted[64];
      std::snprintf(wanted, sizeof wanted, "%g instead of %g", off->value, double(*it));
      throw std::runtime_error("this program has no " + name + "; set it to " + wanted +
                               " in config.json, or track with Python");
    }
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown))
      throw std::runtime_error("this program does not know the setting " + name +
                               " of config.json; take it out, or track with Python");
  }
}

// Settings of config.json under "tracker". OpenCV reads JSON, so no further library is needed.
struct Settings {
  int template_size, search_size, update_interval;
  double template_factor, search_factor, min_size, update_threshold, box_style;
  bool has_score;

  explicit Settings(const std::string& folder) {
    const std::string text = read_json(folder + "/config.json");
    const int flags = cv::FileStorage::READ | cv::FileStorage::MEMORY | cv::FileStorage::FORMAT_JSON;
    cv::FileStorage file;
    if (text.empty() || !file.open(text, flags) || int(file["format"]) != 1)
      throw std::runtime_error(folder + "/config.json is missing or of another format than 1");
    const cv::FileNode t = file["tracker"];
    refuse_unknown(t);
    template_size = int(t["template_size"]);
    search_size = int(t["search_size"]);
    update_interval = int(t["update_interval"]);
    template_factor = double(t["template_factor"]);
    search_factor = double(t["search_factor"]);
    min_size = double(t["min_size"]);
    update_threshold = double(t["update_threshold"]);
    box_style = t["box_style"].empty() ? 0 : double(t["box_style"]);  // bundles of before have none
    has_score = int(file["has_score"]) != 0;
  }
};

// A square around a box; what lies outside is black, and so are the frame's last row and column.
cv::Mat cut(const cv::Mat& frame, const Box& box, double factor, int size, double& side) {
  const int length = int(std::ceil(std::sqrt(box.w * box.h) * factor));
  // nearbyint rounds halves to even, as the published tracker does.
  const int left = int(std::nearbyint(box.x + box.w / 2 - length / 2.0));
  const int top = int(std::nearbyint(box.y + box.h / 2 - length / 2.0));
  const int x1 = std::max(left, 0), x2 = std::min(left + length, frame.cols - 1);
  const int y1 = std::max(top, 0), y2 = std::min(top + length, frame.rows - 1);
  cv::Mat square = cv::Mat::zeros(length, length, CV_8UC3);
  if (x2 > x1 && y2 > y1)
    frame(cv::Rect(x1, y1, x2 - x1, y2 - y1)).copyTo(square(cv::Rect(x1 - left, y1 - top, x2 - x1, y2 - y1)));
  cv::Mat out;
  cv::resize(square, out, {size, size}, 0, 0, cv::INTER_LINEAR);
  side = length;
  return out;
}

// Keep an interval within 0..length, at least margin long.
void clip(double& low, double& size, double length, double margin) {
  const double high = std::min(std::max(margin, low + size), length);
  low = std::min(std::max(0.0, low), length - margin);
  size = std::max(margin, high - low);
}

// The part of a given box that is inside the picture; a thousandth of a pixel beside it is rounding.
Box inside(const Box& box, double width, double height) {
  const double right = box.x + box.w, bottom = box.y + box.h, touch = 1e-3;
  const double x1 = std::max(box.x, 0.0), x2 = std::min(right, width);
  const double y1 = std::max(box.y, 0.0), y2 = std::min(bottom, height);
  if (!(x2 > x1 && y2 > y1)) throw std::runtime_error("the box has no part inside the picture");
  if (std::min(box.x, box.y) >= -touch && right <= width + touch && bottom <= height + touch) return box;
  return {x1, y1, x2 - x1, y2 - y1};
}

double overlap(const Box& a, const Box& b) {
  const double w = std::min(a.x + a.w, b.x + b.w) - std::max(a.x, b.x);
  const double h = std::min(a.y + a.h, b.y + b.h) - std::max(a.y, b.y);
  const double both = std::max(w, 0.0) * std::max(h, 0.0);
  return both / (a.w * a.h + b.w * b.h - both);
}

// How the boxes wanted differ from the network's: shifts in its sizes, and factors of these.
struct Style { double x = 0, y = 0, w = 1, h = 1; };

Style style_of(const Box& given, const Box& found, double share) {
  if (overlap(given, found) < 0.4) return {};
  const auto held = [](double value, double low, double high) { return std::min(std::max(value, low), high); };
  const double x = (given.x + given.w / 2 - found.x - found.w / 2) / found.w;
  const double y = (given.y + given.h / 2 - found.y - found.h / 2) / found.h;
  return {share * share * held(x, -0.25, 0.25), share * share * held(y, -0.25, 0.25),
          std::pow(held(given.w / found.w, 1 / 1.4, 1.4), share),
          std::pow(held(given.h / found.h, 1 / 1.4, 1.4), share)};
}

class Tracker {
 public:
  explicit Tracker(const std::string& folder) : settings_(folder), engine_(folder) {}

  void start(const cv::Mat& frame, const Box& box) {
    box_ = inside(box, frame.cols, frame.rows);
    first_ = candidate_ = look(frame);
    remember(first_);
    style_ = {};
    if (settings_.box_style > 0) {
      Box found = box_;
      find(frame, found);
      style_ = style_of(box_, found, settings_.box_style);
    }
    answer_ = box_;
  }

  float update(const cv::Mat& frame) {
    const Settings& s = settings_;
    const float score = find(frame, box_);
    ++frames_;
    if (s.has_score && s.update_interval > 0) {
      if (score > s.update_threshold && score > best_) {
        best_ = score;
        candidate_ = look(frame);
      }
      if (frames_ % s.update_interval == 0) {
        remember(candidate_);
        best_ = -1;
        candidate_ = first_;
      }
    }
    answer_ = box_;
    if (s.box_style > 0) {
      answer_ = {box_.x + box_.w / 2 + style_.x * box_.w, box_.y + box_.h / 2 + style_.y * box_.h,
                 style_.w * box_.w, style_.h * box_.h};
      answer_.x -= answer_.w / 2;
      answer_.y -= answer_.h / 2;
      clip(answer_.x, answer_.w, frame.cols, s.min_size);
      clip(answer_.y, answer_.h, frame.rows, s.min_size);
    }
    return score;
  }

  const Box& box() const { return answer_; }

 private:
  // Look around a box, and put what is found in its place.
  float find(const cv::Mat& frame, Box& box) {
    double side;
    cv::Mat crop = cut(frame, box, settings_.search_factor, settings_.search_size, side);
    const Answer a = engine_.step(crop);
    const double cx = box.x + box.w / 2 - side / 2 + side * (double(a.box[0]) + a.box[2]) / 2;
    const double cy = box.y + box.h / 2 - side / 2 + side * (double(a.box[1]) + a.box[3]) / 2;
    box.w = side * (double(a.box[2]) - a.box[0]);
    box.h = side * (double(a.box[3]) - a.box[1]);
    box.x = cx - box.w / 2;
    box.y = cy - box.h / 2;
    clip(box.x, box.w, frame.cols, settings_.min_size);
    clip(box.y, box.h, frame.rows, settings_.min_size);
    return a.score;
  }

  cv::Mat look(const cv::Mat& frame) {
    double side;
    return cut(frame, box_, settings_.template_factor, settings_.template_size, side);
  }

  void remember(const cv::Mat& latest) {
    pictures_.assign(first_.data, first_.data + first_.total() * 3);
    pictures_.insert(pictures_.end(), latest.data, latest.data + latest.total() * 3);
    engine_.encode(pictures_, settings_.template_size);
  }

  Settings settings_;
  Engine engine_;
  Box box_{}, answer_{};
  Style style_;
  cv::Mat first_, candidate_;
  std::vector<uint8_t> pictures_;
  double best_ = -1;
  long frames_ = 0;
};

int main(int count, char** given) try {
  Box box{};
  if (count < 4 || std::sscanf(given[2], "%lf,%lf,%lf,%lf", &box.x, &box.y, &box.w, &box.h) != 4) {
    std::fprintf(stderr, "usage: %s BUNDLE x,y,w,h FRAME...\n", given[0]);
    return 2;
  }
  Tracker tracker(given[1]);
  for (int i = 3; i < count; ++i) {
    const cv::Mat frame = cv::imread(given[i], cv::IMREAD_COLOR);
    if (frame.empty()) throw std::runtime_error(std::string(given[i]) + " is no picture");
    float score = 1;
    if (i == 3) tracker.start(frame, box);
    else score = tracker.update(frame);
    const Box& b = tracker.box();
    std::printf("%.4f,%.4f,%.4f,%.4f,%.4f\n", b.x, b.y, b.w, b.h, score);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
