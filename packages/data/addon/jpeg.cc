// JPEG by libjpeg-turbo itself. sharp, which reads every other picture, spends as long on libvips' objects around a small JPEG as on its
// pixels. Settings are libjpeg's own (the exact DCT, smooth upsampling), which PIL and libvips take too, so the pixels are the same.
#include <napi.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// It asks for <cstdio> to be there before it.
#include <jpeglib.h>

namespace {

struct Errors {
  jpeg_error_mgr base;
  std::jmp_buf back;
};

[[noreturn]] void give_up(j_common_ptr decoder) { std::longjmp(reinterpret_cast<Errors*>(decoder->err)->back, 1); }
void say_nothing(j_common_ptr) {}

constexpr int kExif = JPEG_APP0 + 1;
constexpr unsigned kOrientation = 0x0112, kUpright = 1;

/// Numbers in a TIFF structure, as EXIF is one; what lies beyond its end is zero.
struct Tiff {
  const JOCTET* bytes;
  size_t size;

  bool is_little() const { return size > 0 && bytes[0] == 'I'; }
  unsigned byte(size_t at) const { return at < size ? bytes[at] : 0; }
  unsigned half(size_t at) const { return is_little() ? byte(at) | byte(at + 1) << 8 : byte(at) << 8 | byte(at + 1); }
  size_t word(size_t at) const { return is_little() ? half(at) | static_cast<size_t>(half(at + 2)) << 16 : static_cast<size_t>(half(at)) << 16 | half(at + 2); }

  /// EXIF 2.3, section 4.6.4: an entry of the first directory.
  unsigned orientation() const {
    const size_t directory = word(4), entries = half(directory);
    for (size_t i = 0; i < entries && directory + 2 + 12 * i < size; i++) {
      const size_t entry = directory + 2 + 12 * i;
      if (half(entry) == kOrientation) return half(entry + 8);
    }
    return kUpright;
  }
};

bool is_upright(const jpeg_decompress_struct& decoder) {
  constexpr char kHeader[] = "Exif\0";
  for (auto* marker = decoder.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->marker != kExif || marker->data_length < sizeof kHeader || std::memcmp(marker->data, kHeader, sizeof kHeader) != 0) continue;
    if (Tiff{marker->data + sizeof kHeader, marker->data_length - sizeof kHeader}.orientation() != kUpright) return false;
  }
  return true;
}

struct Picture {
  uint8_t* rgb = nullptr;
  size_t width = 0, height = 0;
};

/// False for whatever isn't a whole, upright picture in grey or colour of at most so many pixels.
bool decode(const uint8_t* bytes, size_t size, double most_pixels, Picture& picture) {
  jpeg_decompress_struct decoder;
  Errors errors;
  decoder.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = give_up;
  errors.base.output_message = say_nothing;
  if (setjmp(errors.back) != 0) {
    jpeg_destroy_decompress(&decoder);
    return false;
  }
  jpeg_create_decompress(&decoder);
  jpeg_mem_src(&decoder, bytes, size);
  jpeg_save_markers(&decoder, kExif, 0xffff);
  jpeg_read_header(&decoder, TRUE);
  picture.width = decoder.image_width;
  picture.height = decoder.image_height;
  const bool has_light_alone = decoder.jpeg_color_space == JCS_GRAYSCALE, has_colours = decoder.jpeg_color_space == JCS_YCbCr || decoder.jpeg_color_space == JCS_RGB;
  if ((has_light_alone || has_colours) && static_cast<double>(picture.width) * static_cast<double>(picture.height) <= most_pixels && is_upright(decoder)) {
    decoder.out_color_space = JCS_RGB;
    const size_t row = 3 * picture.width;
    picture.rgb = static_cast<uint8_t*>(std::malloc(row * picture.height));
    if (picture.rgb == nullptr) give_up(reinterpret_cast<j_common_ptr>(&decoder));
    jpeg_start_decompress(&decoder);
    while (decoder.output_scanline < decoder.output_height) {
      constexpr int kRows = 4;
      JSAMPROW rows[kRows];
      for (int i = 0; i < kRows; i++) rows[i] = picture.rgb + row * (decoder.output_scanline + static_cast<size_t>(i));
      const auto left = decoder.output_height - decoder.output_scanline;
      jpeg_read_scanlines(&decoder, rows, left < kRows ? left : kRows);
    }
    jpeg_finish_decompress(&decoder);
  }
  const bool whole = picture.rgb != nullptr && errors.base.num_warnings == 0;
  jpeg_destroy_decompress(&decoder);
  return whole;
}

/// In one of libuv's threads.
class Decoding : public Napi::AsyncWorker {
 public:
  Decoding(Napi::Env env, Napi::Uint8Array bytes, double most_pixels)
      : AsyncWorker(env), promise_(Napi::Promise::Deferred::New(env)), kept_(Napi::Persistent(bytes)), bytes_(bytes.Data()), size_(bytes.ByteLength()), most_pixels_(most_pixels) {}
  ~Decoding() override { std::free(picture_.rgb); }

  Napi::Promise promise() const { return promise_.Promise(); }

  void Execute() override { whole_ = decode(bytes_, size_, most_pixels_, picture_); }

  void OnOK() override {
    if (!whole_) return promise_.Resolve(Env().Null());
    const auto image = Napi::Object::New(Env());
    uint8_t* rgb = picture_.rgb;
    picture_.rgb = nullptr;
    image.Set("data", Napi::Buffer<uint8_t>::New(Env(), rgb, 3 * picture_.width * picture_.height, [](Napi::Env, uint8_t* memory) { std::free(memory); }));
    image.Set("width", Napi::Number::New(Env(), static_cast<double>(picture_.width)));
    image.Set("height", Napi::Number::New(Env(), static_cast<double>(picture_.height)));
    promise_.Resolve(image);
  }

  void OnError(const Napi::Error& error) override { promise_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred promise_;
  Napi::Reference<Napi::Uint8Array> kept_;
  const uint8_t* bytes_;
  size_t size_;
  double most_pixels_;
  Picture picture_;
  bool whole_ = false;
};

/// decodeJpeg(bytes, mostPixels) → a promise of { data, width, height }, 8-bit RGB; of null where sharp is to look at it.
Napi::Value decode_jpeg(const Napi::CallbackInfo& info) {
  auto* decoding = new Decoding(info.Env(), info[0].As<Napi::Uint8Array>(), info[1].As<Napi::Number>().DoubleValue());
  decoding->Queue();
  return decoding->promise();
}

}  // namespace

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("decodeJpeg", Napi::Function::New(env, decode_jpeg));
  return exports;
}

NODE_API_MODULE(jpeg, init)
