// SPDX-License-Identifier: Apache-2.0
// A copy of tensors that tells whether they have changed since, whoever wrote to them.

#include <cstring>
#include <string>
#include <vector>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace diffhpo {
namespace {

class Snapshot {
 public:
  explicit Snapshot(const std::vector<py::object>& tensors) {
    for (const py::object& tensor : tensors) {
      const auto& view = views_.emplace_back(tensor, "tensors[" + std::to_string(views_.size()) + "]");
      values_.insert(values_.end(), view.data(), view.data() + view.size());
    }
  }

  // Bit by bit: nan equals itself, and 0 differs from -0.
  bool matches() const {
    const float* value = values_.data();
    for (const TensorView<float>& view : views_) {
      if (view.size() > 0 && std::memcmp(view.data(), value, view.size() * sizeof(float)) != 0) return false;
      value += view.size();
    }
    return true;
  }

 private:
  std::vector<TensorView<float>> views_;  // they keep the tensors' memory alive
  std::vector<float> values_;
};

}  // namespace

void bind_snapshot(py::module_& m) {
  py::class_<Snapshot>(m, "Snapshot", "Contiguous float32 CPU tensors and their values at construction.")
      .def(py::init<const std::vector<py::object>&>(), py::arg("tensors"))
      .def("matches", &Snapshot::matches, "Whether every tensor still holds the values that it held.");
}

}  // namespace diffhpo
