// SPDX-License-Identifier: Apache-2.0
// Cuts the rows of all contexts into tiles, picks the kernels' build and spreads the tiles over threads.

#include <algorithm>
#include <memory>
#include <vector>

#include "attention/attention_cpu.h"
#include "cpu/isa.h"

namespace diffhpo {

AttentionScratch divide_attention_scratch(float* base, const BlockLayout& block, int64_t inputs, int64_t outputs,
                                          int rows) {
  AttentionScratch s{};
  int64_t at = 0;
  const auto take = [&](int64_t count) {
    float* part = base == nullptr ? nullptr : base + at;
    at += (count + 15) / 16 * 16;
    return part;
  };
  const int64_t larger = std::max(block.width, block.source);
  s.input = take(rows * padded(inputs));
  s.hidden = take(rows * padded(larger));
  s.normed = take(rows * padded(larger));
  s.query = take(rows * padded(block.attended()));
  s.attended = take(rows * padded(block.attended()));
  s.scores = take(static_cast<int64_t>(rows) * kLongestChunk);
  s.expanded = take(rows * padded(2 * block.width));
  s.result = take(rows * padded(outputs));
  s.key_value = take(rows * std::max(block.shared ? 0 : padded(2 * block.attended()), padded(block.folded_outputs())));
  s.sums = take(rows * int64_t{16});
  s.mask = take(kLongestChunk);
  s.zeros = take(padded(block.stride()));
  s.size = at;
  return s;
}

namespace {

struct Kernels {
  decltype(&portable::embed_tile) embed;
  decltype(&portable::key_value_tile) key_value;
  decltype(&portable::encode_tile) encode;
  decltype(&portable::predict_tile) predict;
};

Kernels kernels_of(Isa isa) {
  return {DIFFHPO_BUILD_OF(isa, embed_tile), DIFFHPO_BUILD_OF(isa, key_value_tile), DIFFHPO_BUILD_OF(isa, encode_tile),
          DIFFHPO_BUILD_OF(isa, predict_tile)};
}

// At most kAttentionRows rows a tile and few enough for every thread to get one, in whole register tiles of any ISA.
std::vector<RowTile> cut(const std::vector<int64_t>& counts, int threads) {
  constexpr int64_t kWhole = 12;
  int64_t all = 0;
  for (int64_t count : counts) all += count;
  const int64_t share = (all + threads - 1) / threads;
  const int64_t largest = std::clamp<int64_t>((share + kWhole - 1) / kWhole * kWhole, kWhole, kAttentionRows);
  std::vector<RowTile> tiles;
  int64_t row = 0;
  for (size_t job = 0; job < counts.size(); ++job) {
    for (int64_t first = 0; first < counts[job]; first += largest) {
      const int rows = static_cast<int>(std::min(largest, counts[job] - first));
      tiles.push_back({static_cast<int64_t>(job), first, row + first, rows});
    }
    row += counts[job];
  }
  return tiles;
}

int most_rows(const std::vector<RowTile>& tiles) {
  int rows = 0;
  for (const RowTile& tile : tiles) rows = std::max(rows, tile.rows);
  return rows;
}

// Keys and values of every context at every layer.
class KeyValueStore {
 public:
  KeyValueStore(const BlockLayout& block, const std::vector<int64_t>& tokens, int64_t layers) : layers_(layers) {
    int64_t size = 0;
    for (int64_t count : tokens) size += key_value_layers(block, count, layers) * layer_size(block, count);
    memory_.reset(new float[size + kAlignment]);
    const auto address = reinterpret_cast<uintptr_t>(memory_.get());
    float* at = memory_.get() + (kAlignment - address / sizeof(float) % kAlignment) % kAlignment;
    for (int64_t count : tokens) {
      const int64_t own = key_value_layers(block, count, layers);
      for (int64_t layer = 0; layer < layers; ++layer) {
        if (layer < own) {
          float* values = at + rounded(keys_size(block, count));
          places_.push_back({at, values, values + values_size(block, count)});
          at += layer_size(block, count);
        } else {
          places_.push_back(places_.back());
        }
      }
    }
  }

  // [layers] of a job.
  const KeyValues* of(int64_t job) const { return places_.data() + job * layers_; }

 private:
  static constexpr int64_t kAlignment = 16;  // floats, a cache line; all sizes but that of keys are multiples
  static int64_t rounded(int64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }
  static int64_t layer_size(const BlockLayout& block, int64_t tokens) {
    return rounded(keys_size(block, tokens)) + values_size(block, tokens) + offsets_size(block, tokens);
  }

  int64_t layers_;
  std::unique_ptr<float[]> memory_;
  std::vector<KeyValues> places_;
};

void pool(const EncodeProblem& p) {
  const int64_t width = p.layout.width;
  std::vector<double> sum(width);
  const float* token = p.tokens;
  for (int64_t job = 0; job < p.jobs; ++job) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (int64_t i = 0; i <= p.counts[job]; ++i, token += width) {
      for (int64_t j = 0; j < width; ++j) sum[j] += token[j];
    }
    for (int64_t j = 0; j < width; ++j) {
      p.pooled[job * width + j] = static_cast<float>(sum[j] / static_cast<double>(p.counts[job] + 1));
    }
  }
}

}  // namespace

bool encode_cpu(const EncodeProblem& p, Isa isa, int threads, StopSignal interrupted) {
  const Kernels kernels = kernels_of(isa);
  const BlockLayout block = p.layout.block();
  std::vector<int64_t> tokens(p.jobs), first_input(p.jobs);
  for (int64_t job = 0, at = 0; job < p.jobs; at += p.counts[job++]) {
    tokens[job] = p.counts[job] + 1;
    first_input[job] = at;
  }
  const std::vector<RowTile> tiles = cut(tokens, threads);
  const int rows = most_rows(tiles);
  // Stage l turns layer l - 1's keys and values into tokens, and those into the keys and values of layer l.
  const KeyValueStore stores[] = {{block, tokens, 1}, {block, tokens, p.layout.layers > 1 ? 1 : 0}};
  for (int64_t stage = 0; stage <= p.layout.layers; ++stage) {
    const bool stopped = run_on_threads(
        static_cast<int64_t>(tiles.size()), threads, divide_attention_scratch(nullptr, block, 0, 0, rows).size,
        interrupted, [&](int64_t i, float* scratch, StopSignal) {
          const RowTile& tile = tiles[i];
          const int64_t count = tokens[tile.job];
          const AttentionScratch s = divide_attention_scratch(scratch, block, 0, 0, rows);
          if (stage == 0 && !p.embedded) {
            const int64_t input = first_input[tile.job] + std::max<int64_t>(tile.first - 1, 0);
            kernels.embed(p, tile, p.inputs + input * p.layout.inputs, s);
          } else if (stage > 0) {
            kernels.encode(p, stage - 1, tile, *stores[(stage - 1) % 2].of(tile.job), count, s);
          }
          if (stage < p.layout.layers) {
            kernels.key_value(block, p.weights + p.layout.layer(stage), true, p.tokens + tile.row * p.layout.width,
                              count, tile, *stores[stage % 2].of(tile.job), s);
          }
        });
    if (stopped) return true;
  }
  if (p.pooled != nullptr) pool(p);
  return false;
}

bool predict_cpu(const PredictProblem& p, Isa isa, int threads, StopSignal interrupted) {
  const Kernels kernels = kernels_of(isa);
  const BlockLayout block = p.layout.block();
  const std::vector<int64_t> tokens(p.token_counts, p.token_counts + p.jobs), counts(p.counts, p.counts + p.jobs);
  const int64_t layers = p.layout.layers;
  const KeyValueStore store(block, tokens, layers);
  const std::vector<RowTile> token_tiles = cut(tokens, threads), tiles = cut(counts, threads);
  const int token_rows = most_rows(token_tiles), rows = most_rows(tiles);
  const bool stopped = run_on_threads(
      static_cast<int64_t>(token_tiles.size()), threads,
      divide_attention_scratch(nullptr, block, 0, 0, token_rows).size, interrupted,
      [&](int64_t i, float* scratch, StopSignal) {
        const RowTile& tile = token_tiles[i];
        const int64_t count = tokens[tile.job];
        const AttentionScratch s = divide_attention_scratch(scratch, block, 0, 0, token_rows);
        for (int64_t layer = 0; layer < key_value_layers(block, count, layers); ++layer) {
          kernels.key_value(block, p.weights + p.layout.layer(layer), false, p.tokens + tile.row * block.source, count,
                            tile, store.of(tile.job)[layer], s);
        }
      });
  if (stopped) return true;
  return run_on_threads(static_cast<int64_t>(tiles.size()), threads,
                        divide_attention_scratch(nullptr, block, p.layout.dim, p.layout.bars, rows).size, interrupted,
                        [&](int64_t i, float* scratch, StopSignal) {
                          kernels.predict(p, tiles[i], store.of(tiles[i].job),
                                          divide_attention_scratch(scratch, block, p.layout.dim, p.layout.bars, rows));
                        });
}

}  // namespace diffhpo
