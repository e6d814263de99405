// SPDX-License-Identifier: Apache-2.0
// A tensor of any framework as pointer + shape + dtype + device, through DLPack (github.com/dmlc/dlpack, ABI of
// the unversioned capsule): the tensor itself or its capsule. A check that fails names the argument.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace diffhpo {

namespace dlpack {

struct Device {
  int32_t type;
  int32_t id;
};
struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // null: contiguous
  uint64_t byte_offset;
};
struct ManagedTensor {
  Tensor tensor;
  void* manager;
  void (*deleter)(ManagedTensor*);
};

constexpr int32_t kCpu = 1, kCuda = 2;
constexpr uint8_t kInt = 0, kUInt = 1, kFloat = 2;

template <class T>
struct ElementType;
template <>
struct ElementType<float> {
  static constexpr DataType value{kFloat, 32, 1};
  static constexpr const char* name = "float32";
};
template <>
struct ElementType<double> {
  static constexpr DataType value{kFloat, 64, 1};
  static constexpr const char* name = "float64";
};
template <>
struct ElementType<uint8_t> {
  static constexpr DataType value{kUInt, 8, 1};
  static constexpr const char* name = "uint8";
};
template <>
struct ElementType<int64_t> {
  static constexpr DataType value{kInt, 64, 1};
  static constexpr const char* name = "int64";
};

}  // namespace dlpack

// Holds the exporter's capsule, so the memory stays alive as long as the view. Needs the GIL.
template <class T>
class TensorView {
 public:
  TensorView(const pybind11::handle& object, std::string name, int32_t device_type = dlpack::kCpu)
      : name_(std::move(name)) {
    pybind11::object capsule;
    if (PyCapsule_CheckExact(object.ptr())) {
      capsule = pybind11::reinterpret_borrow<pybind11::object>(object);
    } else if (pybind11::hasattr(object, "__dlpack__")) {
      // Stream -1: no synchronisation, the caller orders the work.
      capsule = device_type == dlpack::kCpu ? object.attr("__dlpack__")()
                                            : object.attr("__dlpack__")(pybind11::arg("stream") = -1);
    } else {
      throw pybind11::type_error(name_ + " is a " + type_name(object) + "; a tensor is needed");
    }
    if (!PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
      throw pybind11::type_error(name_ + " gave no DLPack capsule named dltensor");
    }
    capsule_ = std::move(capsule);  // its own destructor frees the tensor: it is never marked as used
    const auto* managed = static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule_.ptr(), "dltensor"));
    const dlpack::Tensor& tensor = managed->tensor;
    if (tensor.device.type != device_type) {
      throw pybind11::value_error(name_ + " is on the wrong device; it must be on " +
                                  (device_type == dlpack::kCpu ? "the CPU" : "a CUDA device"));
    }
    const dlpack::DataType wanted = dlpack::ElementType<T>::value;
    if (tensor.dtype.code != wanted.code || tensor.dtype.bits != wanted.bits || tensor.dtype.lanes != wanted.lanes) {
      throw pybind11::type_error(name_ + " has the wrong dtype; " + dlpack::ElementType<T>::name + " is needed");
    }
    shape_.assign(tensor.shape, tensor.shape + tensor.ndim);
    data_ = reinterpret_cast<T*>(static_cast<char*>(tensor.data) + tensor.byte_offset);
    device_ = tensor.device;
    check_contiguous(tensor);
  }

  T* data() const { return data_; }
  int device_index() const { return device_.id; }
  const std::vector<int64_t>& shape() const { return shape_; }

  int64_t size() const {
    int64_t size = 1;
    for (int64_t extent : shape_) size *= extent;
    return size;
  }

  int64_t extent(size_t axis, size_t rank) const {
    if (shape_.size() != rank) {
      throw pybind11::value_error(name_ + " has rank " + std::to_string(shape_.size()) + "; " +
                                  std::to_string(rank) + " is needed");
    }
    return shape_[axis];
  }

  const TensorView& require(std::initializer_list<int64_t> shape) const {
    if (shape_ != std::vector<int64_t>(shape)) {
      throw pybind11::value_error(name_ + " has shape " + text(shape_) + "; " + text(shape) + " is needed");
    }
    return *this;
  }

 private:
  static std::string type_name(const pybind11::handle& object) {
    return std::string(pybind11::str(pybind11::type::of(object).attr("__name__")));
  }

  static std::string text(const std::vector<int64_t>& shape) {
    std::string out = "(";
    for (int64_t extent : shape) out += std::to_string(extent) + ", ";
    return out + ")";
  }

  void check_contiguous(const dlpack::Tensor& tensor) const {
    if (tensor.strides == nullptr || size() == 0) return;
    int64_t expected = 1;
    for (int32_t axis = tensor.ndim - 1; axis >= 0; --axis) {
      if (tensor.shape[axis] != 1 && tensor.strides[axis] != expected) {
        throw pybind11::value_error(name_ + " is not contiguous; pass " + name_ + ".contiguous()");
      }
      expected *= tensor.shape[axis];
    }
  }

  std::string name_;
  pybind11::object capsule_;
  T* data_ = nullptr;
  dlpack::Device device_{};
  std::vector<int64_t> shape_;
};

}  // namespace diffhpo
