#include "calibrate/measure/watch.hpp"

#include <dlfcn.h>

namespace tw {

// The toolkit comes without nvml.h on some systems; these are NVML's stable entry points.
struct GpuWatch::Library {
  using Device = void*;
  void* handle = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  Device device = nullptr;

  template <class... Args>
  bool call(const char* name, Args... args) const {
    if (handle == nullptr) return false;
    // POSIX: a symbol's address converts to a function's.
    const auto function = reinterpret_cast<int (*)(Args...)>(dlsym(handle, name));
    return function != nullptr && function(args...) == 0;
  }
};

namespace {

std::string nvml_name(const std::string& hex) {  // GPU-8-4-4-4-12
  std::string text = "GPU-";
  for (std::size_t i = 0; i < hex.size(); ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) text += '-';
    text += hex[i];
  }
  return text;
}

}  // namespace

GpuWatch::GpuWatch(const std::string& uuid) : library_(std::make_unique<Library>()) {
  Library& l = *library_;
  const std::string name = nvml_name(uuid);
  if (!l.call("nvmlInit_v2") ||
      !l.call<const char*, void**>("nvmlDeviceGetHandleByUUID", name.c_str(), &l.device))
    l.device = nullptr;
}

GpuWatch::~GpuWatch() {
  if (library_->device != nullptr) library_->call("nvmlShutdown");
}

GpuState GpuWatch::now() const {
  GpuState state;
  const Library& l = *library_;
  if (l.device == nullptr) return state;
  constexpr int kSmClock = 1, kGpuSensor = 0;
  constexpr unsigned long long kIdle = 1;
  unsigned clock = 0, power = 0, heat = 0;
  unsigned long long reasons = 0;
  if (l.call<void*, int, unsigned*>("nvmlDeviceGetClockInfo", l.device, kSmClock, &clock))
    state.clock_mhz = clock;
  if (l.call<void*, unsigned*>("nvmlDeviceGetPowerUsage", l.device, &power)) state.power_w = power * 1e-3;
  if (l.call<void*, int, unsigned*>("nvmlDeviceGetTemperature", l.device, kGpuSensor, &heat))
    state.heat_c = heat;
  if (l.call<void*, unsigned long long*>("nvmlDeviceGetCurrentClocksThrottleReasons", l.device, &reasons))
    state.held_down = static_cast<std::int64_t>(reasons & ~kIdle);
  return state;
}

double GpuWatch::power_limit_w() const {
  unsigned limit = 0;
  const bool known =
      library_->device != nullptr &&
      library_->call<void*, unsigned*>("nvmlDeviceGetEnforcedPowerLimit", library_->device, &limit);
  return known ? limit * 1e-3 : 0;
}

std::string GpuWatch::driver() const {
  char text[96] = "";
  if (library_->device == nullptr || !library_->call<char*, unsigned>("nvmlSystemGetDriverVersion", text,
                                                                      static_cast<unsigned>(sizeof text)))
    return "unknown";
  return text;
}

}  // namespace tw
