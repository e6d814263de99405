// SPDX-License-Identifier: Apache-2.0
// The parameters of Network and Transformer in one table: order, shapes, offsets.
//
// Flat, as callers hold it: the tensors below one after another, each row by row as torch holds it.
//
//   network      input.weight (W, d), input.bias; for every block expand.weight (2W, W), expand.bias,
//                contract.weight (W, 2W), contract.bias; output.weight (d, W), output.bias;
//                time.0.weight (W, F), time.0.bias, time.2.weight (2WB, W), time.2.bias; flag.weight (3, 2WB);
//                context.weight (2WB, C)
//   transformer  anchor (C); token.weight (C, d + 2), token.bias; for every layer attention_norm.weight (C), .bias,
//                query_key_value.weight (3C, C), .bias, attention_output.weight (C, C), .bias, mlp_norm.weight (C),
//                .bias, mlp.0.weight (2C, C), .bias, mlp.2.weight (C, 2C), .bias
//
// Packed, as the kernel holds it: the same order, but rows start at multiples of 16 floats, and so does every
// attention head and the part of every block in what conditions it. What lies between is zero and stays zero: its
// gradients are products with zeros.
#pragma once

#include <cstdint>

#include "host_device.h"
#include "panels.h"

namespace diffhpo {

constexpr int64_t kRowMultiple = 16;  // floats; the widest vector of any ISA

DIFFHPO_INLINE constexpr int64_t whole(int64_t floats) {
  return (floats + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
}

struct TrainingShape {
  int64_t dim;            // d
  int64_t width;          // W
  int64_t blocks;         // B
  int64_t context_width;  // C
  int64_t time_features;  // F
  int64_t layers;         // of the Transformer
  int64_t heads;

  DIFFHPO_INLINE int64_t hidden() const { return whole(2 * width); }          // of a block, packed
  DIFFHPO_INLINE int64_t shifts() const { return blocks * hidden(); }         // conditioning of a row, packed
  DIFFHPO_INLINE int64_t head() const { return context_width / heads; }
  DIFFHPO_INLINE int64_t attended() const { return heads * whole(head()); }   // all heads, packed
};

// `count` numbers in groups that start `spacing` apart.
struct Axis {
  int64_t count, group, spacing;

  DIFFHPO_INLINE int64_t place(int64_t i) const { return i / group * spacing + i % group; }
  DIFFHPO_INLINE int64_t extent() const { return place(count - 1) + 1; }  // to the last number, gaps included
};

struct Offsets {
  int64_t flat, packed;
  int64_t transposed;  // in a table of transposed matrices, in panels of kPanel rows
};

struct Parameter {
  Axis rows, columns;
  Offsets at;

  DIFFHPO_INLINE int64_t stride() const { return whole(columns.extent()); }
  DIFFHPO_INLINE int64_t flat_size() const { return rows.count * columns.count; }
  DIFFHPO_INLINE int64_t packed_size() const { return rows.extent() * stride(); }
  DIFFHPO_INLINE int64_t transposed_size() const { return padded(rows.extent()) * stride(); }
};

// out = W in + b
struct DenseParameters {
  Parameter weight, bias;
};

struct EncoderLayerParameters {
  Parameter attention_norm_scale, attention_norm_shift;
  DenseParameters query_key_value, attention_output;
  Parameter mlp_norm_scale, mlp_norm_shift;
  DenseParameters expand, contract;
};

class TrainingLayout {
 public:
  DIFFHPO_INLINE explicit TrainingLayout(const TrainingShape& s) : shape(s) {
    const Axis in = plain(s.dim), stream = plain(s.width), hidden = plain(2 * s.width);
    const Axis shifts{2 * s.width * s.blocks, 2 * s.width, s.hidden()};
    const Axis tokens = plain(s.context_width), wide = plain(2 * s.context_width);
    const Axis heads{s.context_width, s.head(), whole(s.head())};
    const Axis projections{3 * s.context_width, s.head(), whole(s.head())};
    const Axis one = plain(1);
    input = dense(stream, in);
    const Offsets block = size;
    expand_ = dense(hidden, stream);
    contract_ = dense(stream, hidden);
    block_ = repeat(s.blocks, block);
    output = dense(in, stream);
    time_input = dense(stream, plain(s.time_features));
    time_output = dense(shifts, stream);
    flag = add(plain(3), shifts);
    context = add(shifts, tokens);
    anchor = add(one, tokens);
    token = dense(tokens, plain(s.dim + 2));
    const Offsets layer = size;
    layer_.attention_norm_scale = add(one, tokens);
    layer_.attention_norm_shift = add(one, tokens);
    layer_.query_key_value = dense(projections, tokens);
    layer_.attention_output = dense(tokens, heads);
    layer_.mlp_norm_scale = add(one, tokens);
    layer_.mlp_norm_shift = add(one, tokens);
    layer_.expand = dense(wide, tokens);
    layer_.contract = dense(tokens, wide);
    layer_size_ = repeat(s.layers, layer);
  }

  DIFFHPO_INLINE DenseParameters expand(int64_t b) const { return moved(expand_, b, block_); }
  DIFFHPO_INLINE DenseParameters contract(int64_t b) const { return moved(contract_, b, block_); }
  DIFFHPO_INLINE EncoderLayerParameters layer(int64_t i) const {
    return {moved(layer_.attention_norm_scale, i, layer_size_),
            moved(layer_.attention_norm_shift, i, layer_size_),
            moved(layer_.query_key_value, i, layer_size_),
            moved(layer_.attention_output, i, layer_size_),
            moved(layer_.mlp_norm_scale, i, layer_size_),
            moved(layer_.mlp_norm_shift, i, layer_size_),
            moved(layer_.expand, i, layer_size_),
            moved(layer_.contract, i, layer_size_)};
  }

  // Calls visit(parameter) for every tensor, in order.
  template <class Visit>
  DIFFHPO_INLINE void each(Visit visit) const {
    const auto both = [&](const DenseParameters& d) { visit(d.weight), visit(d.bias); };
    both(input);
    for (int64_t b = 0; b < shape.blocks; ++b) both(expand(b)), both(contract(b));
    both(output), both(time_input), both(time_output);
    visit(flag), visit(context), visit(anchor);
    both(token);
    for (int64_t i = 0; i < shape.layers; ++i) {
      const EncoderLayerParameters l = layer(i);
      visit(l.attention_norm_scale), visit(l.attention_norm_shift);
      both(l.query_key_value), both(l.attention_output);
      visit(l.mlp_norm_scale), visit(l.mlp_norm_shift);
      both(l.expand), both(l.contract);
    }
  }

  TrainingShape shape;
  Offsets size{0, 0, 0};  // of the whole tables, in floats
  DenseParameters input{}, output{}, time_input{}, time_output{}, token{};
  Parameter flag{}, context{}, anchor{};

 private:
  DIFFHPO_INLINE static Axis plain(int64_t count) { return {count, count, count}; }
  DIFFHPO_INLINE Parameter add(Axis rows, Axis columns) {
    const Parameter p{rows, columns, size};
    size = {size.flat + p.flat_size(), size.packed + p.packed_size(), size.transposed + p.transposed_size()};
    return p;
  }
  DIFFHPO_INLINE DenseParameters dense(Axis outputs, Axis inputs) {
    const Parameter weight = add(outputs, inputs);
    return {weight, add(plain(1), outputs)};
  }
  // What was added since `start` comes `times` times in all; returns the size of one.
  DIFFHPO_INLINE Offsets repeat(int64_t times, const Offsets& start) {
    const Offsets one{size.flat - start.flat, size.packed - start.packed, size.transposed - start.transposed};
    size = {start.flat + times * one.flat, start.packed + times * one.packed,
            start.transposed + times * one.transposed};
    return one;
  }
  DIFFHPO_INLINE static Parameter moved(Parameter p, int64_t i, const Offsets& step) {
    p.at.flat += i * step.flat;
    p.at.packed += i * step.packed;
    p.at.transposed += i * step.transposed;
    return p;
  }
  DIFFHPO_INLINE static DenseParameters moved(const DenseParameters& d, int64_t i, const Offsets& step) {
    return {moved(d.weight, i, step), moved(d.bias, i, step)};
  }

  DenseParameters expand_{}, contract_{};
  EncoderLayerParameters layer_{};
  Offsets block_{}, layer_size_{};
};

}  // namespace diffhpo
