// The three products of matrix mixing, each one fused_product; see matrix_mix.hpp for the contract.
#include "matrix_mix.hpp"

#include "fused_product.hpp"

namespace amp {
namespace {

using Channel = Eigen::Map<Eigen::ArrayXd>;
using ConstChannel = Eigen::Map<const Eigen::ArrayXd>;

void clear(double* channels, Index stride, Index count, Index frames) {
  for (Index c = 0; c < count; ++c) Channel(channels + c * stride, frames).setZero();
}

// Channels down the depth of the panel, frames along it.
struct FramesAlong {
  const double* channels;
  Index stride;
  void operator()(Panel& panel, Index k, Index depth, Index n, Index width) const {
    for (Index i = 0; i < depth; ++i)
      panel.col(i).head(width) = ConstChannel(channels + (k + i) * stride + n, width);
  }
};

// Frames down the depth of the panel, last frame first, channels along it.
struct ChannelsAlong {
  const double* channels;
  Index stride, frames;
  void operator()(Panel& panel, Index k, Index depth, Index n, Index width) const {
    for (Index j = 0; j < width; ++j)
      panel.row(j).head(depth) =
          ConstChannel(channels + (n + j) * stride + frames - k - depth, depth).reverse().transpose();
  }
};

}  // namespace
}  // namespace amp

extern "C" void amp_matrix_mix_forward(const double* w, const int64_t* sizes, const double* const* in,
                                       const int64_t* in_stride, double* const* out,
                                       const int64_t* out_stride, double*, double*, int64_t frames) {
  const int64_t c_in = sizes[0], c_out = sizes[1], step = out_stride[0];
  double* y = out[0];
  amp::clear(y, step, c_out, frames);
  amp::fused_product(
      c_out, frames, c_in, 1, [=](int64_t o) { return w + o * c_in; },
      [=](int64_t o) { return y + o * step; }, amp::FramesAlong{in[0], in_stride[0]});
}

extern "C" void amp_matrix_mix_adjoint(const double* w, const int64_t* sizes, const double* const* in,
                                       const int64_t* in_stride, const double* const* dout,
                                       const int64_t* dout_stride, double* const* din,
                                       const int64_t* din_stride, double* dw, const double*, double*,
                                       double*, int64_t frames) {
  const int64_t c_in = sizes[0], c_out = sizes[1], step = dout_stride[0], step_in = din_stride[0];
  const double* dy = dout[0];
  if (double* dx = din[0]) {
    amp::clear(dx, step_in, c_in, frames);
    amp::fused_product(
        c_in, frames, c_out, c_in, [=](int64_t i) { return w + i; },
        [=](int64_t i) { return dx + i * step_in; }, amp::FramesAlong{dy, step});
  }
  if (dw != nullptr) {
    amp::fused_product(
        c_out, c_in, frames, -1, [=](int64_t o) { return dy + o * step + frames - 1; },
        [=](int64_t o) { return dw + o * c_in; }, amp::ChannelsAlong{in[0], in_stride[0], frames});
  }
}

extern "C" int64_t amp_matrix_mix_state(const int64_t*) { return 0; }

extern "C" int64_t amp_matrix_mix_scratch(const int64_t*, int64_t) { return 0; }
