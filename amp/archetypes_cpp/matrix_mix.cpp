// The three products of matrix mixing, each one fused_product; see matrix_mix.hpp for the contract.
#include "matrix_mix.hpp"

#include "fused_product.hpp"

namespace amp {
namespace {

using Channel = Eigen::Map<Eigen::ArrayXd>;
using ConstChannel = Eigen::Map<const Eigen::ArrayXd>;

void clear(double* const* channels, Index count, Index frames) {
  for (Index c = 0; c < count; ++c) Channel(channels[c], frames).setZero();
}

// Channels down the depth of the panel, frames along it.
struct FramesAlong {
  const double* const* channels;
  void operator()(Panel& panel, Index k, Index depth, Index n, Index width) const {
    for (Index i = 0; i < depth; ++i)
      panel.col(i).head(width) = ConstChannel(channels[k + i] + n, width);
  }
};

// Frames down the depth of the panel, last frame first, channels along it.
struct ChannelsAlong {
  const double* const* channels;
  Index frames;
  void operator()(Panel& panel, Index k, Index depth, Index n, Index width) const {
    for (Index j = 0; j < width; ++j)
      panel.row(j).head(depth) =
          ConstChannel(channels[n + j] + frames - k - depth, depth).reverse().transpose();
  }
};

}  // namespace
}  // namespace amp

extern "C" void amp_matrix_mix_forward(const double* w, const double* const* x, double* const* y,
                                       int64_t c_in, int64_t c_out, int64_t frames) {
  amp::clear(y, c_out, frames);
  amp::fused_product(
      c_out, frames, c_in, 1, [=](int64_t o) { return w + o * c_in; },
      [=](int64_t o) { return y[o]; }, amp::FramesAlong{x});
}

extern "C" void amp_matrix_mix_adjoint(const double* w, const double* const* x,
                                       const double* const* dy, double* dw, double* const* dx,
                                       int64_t c_in, int64_t c_out, int64_t frames) {
  if (dx != nullptr) {
    amp::clear(dx, c_in, frames);
    amp::fused_product(
        c_in, frames, c_out, c_in, [=](int64_t i) { return w + i; },
        [=](int64_t i) { return dx[i]; }, amp::FramesAlong{dy});
  }
  if (dw != nullptr && frames > 0) {
    amp::fused_product(
        c_out, c_in, frames, -1, [=](int64_t o) { return dy[o] + frames - 1; },
        [=](int64_t o) { return dw + o * c_in; }, amp::ChannelsAlong{x, frames});
  }
}
