// What a step's rows get from their adapters. Rows of the base model are not touched.
//
// add_lora: y += scale · B_slot(A_slot x), for linear layers.
// a is (slots, slices, rank, in) and b is (slots, rank, out), given by their first slice's views (see cpu_lora.pack).
// plan is [n, start, end, slot, …]: n segments of rows; with slot −2 each row has its own, in slots, −1 for none.
// A segment of one slot is long, and worth PyTorch's matrix products; the others are short, and each product so small
// that what a library does around it would cost more than the product.
//
// add_expand: y += B_slot x, for embeddings, where x is what the adapter's A has for the token. b is
// (slots, 1, out, rank). Few adapters have any: rows whose x is zero are passed over.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <omp.h>

#include <algorithm>
#include <vector>

namespace {

constexpr int64_t COLUMNS = 64;         // of y at once: four registers of 16 floats
constexpr int64_t WORTH_THREADS = 1 << 16;  // multiplications; below it waking threads costs more than they save

struct Layer {
  const at::Tensor &a, &b;
  at::IntArrayRef widths;
  int64_t slices, rank, in, out;
};

template <typename T>
void add_rows(at::Tensor& y, const at::Tensor& x, const Layer& layer, const int64_t* slots, int64_t start, int64_t end,
              float scale) {
  static thread_local std::vector<float> shrunk;
  const int64_t narrow = layer.slices * layer.rank, rows = end - start;
  shrunk.resize(std::max<size_t>(shrunk.size(), rows * narrow));
  float* const between = shrunk.data();
  const T* const x0 = x.const_data_ptr<T>();
  T* const y0 = y.mutable_data_ptr<T>();
  const T* const a0 = layer.a.const_data_ptr<T>();
  const T* const b0 = layer.b.const_data_ptr<T>();
  const int64_t x_row = x.stride(0), y_row = y.stride(0), a_slot = layer.a.stride(0), b_slot = layer.b.stride(0);
  const int64_t blocks = (layer.out + COLUMNS - 1) / COLUMNS;
  const bool threads = rows * narrow * (layer.in + layer.out / layer.slices) > WORTH_THREADS;

#pragma omp parallel if (threads)
  {
#pragma omp for schedule(static)
    for (int64_t j = 0; j < narrow; ++j) {
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t slot = slots[start + row];
        if (slot < 0) continue;
        const T* const weights = a0 + slot * a_slot + j * layer.in;
        const T* const input = x0 + (start + row) * x_row;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t k = 0; k < layer.in; ++k) sum += static_cast<float>(weights[k]) * static_cast<float>(input[k]);
        between[row * narrow + j] = sum * scale;
      }
    }
#pragma omp for schedule(static)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = block * COLUMNS, last = std::min(first + COLUMNS, layer.out);
      int64_t slice_start = 0;
      for (int64_t slice = 0; slice < layer.slices; slice_start += layer.widths[slice++]) {
        const int64_t low = std::max(first, slice_start), high = std::min(last, slice_start + layer.widths[slice]);
        if (low >= high) continue;
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t slot = slots[start + row];
          if (slot < 0) continue;
          const float* const inputs = between + row * narrow + slice * layer.rank;
          const T* const weights = b0 + slot * b_slot + low;
          float sums[COLUMNS] = {};
          if (high - low == COLUMNS) {
            for (int64_t r = 0; r < layer.rank; ++r) {
#pragma omp simd
              for (int64_t c = 0; c < COLUMNS; ++c) sums[c] += inputs[r] * static_cast<float>(weights[r * layer.out + c]);
            }
          } else {
            for (int64_t r = 0; r < layer.rank; ++r) {
#pragma omp simd
              for (int64_t c = 0; c < high - low; ++c) sums[c] += inputs[r] * static_cast<float>(weights[r * layer.out + c]);
            }
          }
          T* const outputs = y0 + (start + row) * y_row + low;
#pragma omp simd
          for (int64_t c = 0; c < high - low; ++c) outputs[c] = static_cast<T>(static_cast<float>(outputs[c]) + sums[c]);
        }
      }
    }
  }
}

void add_run(at::Tensor& y, const at::Tensor& x, const Layer& layer, int64_t slot, int64_t start, int64_t end,
             double scale) {
  const auto a = layer.a.as_strided({layer.slices * layer.rank, layer.in}, {layer.in, 1},
                                    layer.a.storage_offset() + slot * layer.a.stride(0));
  const auto shrunk = at::mm(x.narrow(0, start, end - start), a.t());
  auto target = y.narrow(0, start, end - start);
  int64_t column = 0;
  for (int64_t slice = 0; slice < layer.slices; column += layer.widths[slice++]) {
    const auto b = layer.b.as_strided({layer.rank, layer.widths[slice]}, {layer.out, 1},
                                      layer.b.storage_offset() + slot * layer.b.stride(0) + column);
    target.narrow(1, column, layer.widths[slice])
        .addmm_(shrunk.narrow(1, slice * layer.rank, layer.rank), b, 1, scale);
  }
}

void add_lora(at::Tensor y, const at::Tensor& x, const at::Tensor& a, const at::Tensor& b, const at::Tensor& plan,
              const at::Tensor& slots, at::IntArrayRef widths, double scale) {
  int64_t out = 0;
  for (const int64_t width : widths) out += width;
  const Layer layer{a, b, widths, static_cast<int64_t>(widths.size()), a.size(2), a.size(3), out};
  TORCH_CHECK(a.stride(0) == layer.slices * layer.rank * layer.in && a.stride(3) == 1, "A is not packed");
  TORCH_CHECK(b.stride(0) == layer.rank * out && b.stride(2) == 1 && (layer.rank == 1 || b.stride(3) == out),
              "B is not packed");
  TORCH_CHECK(x.dim() == 2 && y.dim() == 2 && x.stride(1) == 1 && y.stride(1) == 1 && y.size(1) == out &&
                  x.size(1) == layer.in && x.size(0) == y.size(0),
              "x is (", x.sizes(), ") and y is (", y.sizes(), "), expected (rows, ", layer.in, ") and (rows, ", out, ")");
  TORCH_CHECK(x.dtype() == y.dtype() && a.dtype() == y.dtype() && b.dtype() == y.dtype(), "mixed number types");
  const int64_t* const steps = plan.const_data_ptr<int64_t>();
  for (int64_t index = 0; index < steps[0]; ++index) {
    const int64_t start = steps[1 + 3 * index], slot = steps[3 + 3 * index];
    const int64_t end = std::min(steps[2 + 3 * index], y.size(0));
    if (start >= end) continue;
    if (slot >= 0) {
      add_run(y, x, layer, slot, start, end, scale);
      continue;
    }
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, y.scalar_type(), "add_lora", [&] {
      add_rows<scalar_t>(y, x, layer, slots.const_data_ptr<int64_t>(), start, end, static_cast<float>(scale));
    });
  }
}

void add_expand(at::Tensor y, const at::Tensor& x, const at::Tensor& b, const at::Tensor& slots) {
  const int64_t rank = b.size(3), out = b.size(2);
  TORCH_CHECK(b.is_contiguous() && x.dim() == 2 && x.stride(1) == 1 && x.size(1) == rank && y.dim() == 2 &&
                  y.stride(1) == 1 && y.size(1) == out && x.size(0) == y.size(0),
              "x is (", x.sizes(), "), y is (", y.sizes(), ") and B is (", b.sizes(), ")");
  TORCH_CHECK(x.dtype() == y.dtype() && b.dtype() == y.dtype(), "mixed number types");
  const int64_t* const slot_of = slots.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, y.scalar_type(), "add_expand", [&] {
    for (int64_t row = 0; row < y.size(0); ++row) {
      const scalar_t* const input = x.const_data_ptr<scalar_t>() + row * x.stride(0);
      if (slot_of[row] < 0 || std::all_of(input, input + rank, [](scalar_t each) { return each == scalar_t(0); })) continue;
      scalar_t* const output = y.mutable_data_ptr<scalar_t>() + row * y.stride(0);
      const scalar_t* weights = b.const_data_ptr<scalar_t>() + slot_of[row] * out * rank;
      for (int64_t column = 0; column < out; ++column, weights += rank) {
        float sum = 0;
        for (int64_t r = 0; r < rank; ++r) sum += static_cast<float>(weights[r]) * static_cast<float>(input[r]);
        output[column] = static_cast<scalar_t>(static_cast<float>(output[column]) + sum);
      }
    }
  });
}

}  // namespace

TORCH_LIBRARY(locum, library) {
  library.def(
      "add_lora(Tensor(a!) y, Tensor x, Tensor a, Tensor b, Tensor plan, Tensor slots, int[] widths, float scale) -> ()");
  library.def("add_expand(Tensor(a!) y, Tensor x, Tensor b, Tensor slots) -> ()");
}

TORCH_LIBRARY_IMPL(locum, CPU, library) {
  library.impl("add_lora", add_lora);
  library.impl("add_expand", add_expand);
}
