// A program of its own that renders chat templates. A template comes with a model from anywhere and is a program in
// Jinja: it may repeat without end, recurse until the stack is gone, or make text until the memory is. llama-common's
// Jinja knows no limits, so it runs in here, where the system keeps them: processor time for each request, memory for
// all, and a stack that ends this process and no other.
//
// Started by ChatTemplate with a socket as standard input; ends when that closes. Requests (template_wire.h):
//   init TEMPLATE BOS EOS ADD_BOS ADD_EOS      -> ok | error MESSAGE
//   render ANSWER ROLE CONTENT ROLE CONTENT... -> ok PROMPT THINKING_START THINKING_END... | error MESSAGE
#include <chat.h>
#include <log.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <exception>

#include "chat/template_wire.h"

namespace {

using morph::backbone::Unpacker;
using Strings = std::vector<std::string>;

constexpr long kSeconds = 5;  // of processor time for a request; published templates take milliseconds

void set_limits() {
  const auto limit = [](int resource, rlim_t most) {
    const rlimit both{most, most};
    ::setrlimit(resource, &both);
  };
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  if constexpr (MORPH_RENDER_MIB > 0) limit(RLIMIT_AS, rlim_t{MORPH_RENDER_MIB} << 20);
}

/// SIGPROF ends the process when a request takes longer.
void set_clock(long seconds) {
  const itimerval timer{{0, 0}, {seconds, 0}};
  ::setitimer(ITIMER_PROF, &timer, nullptr);
}

class Renderer {
 public:
  Strings answer(const Strings& request) {
    try {  // an edge: another library's exceptions stop here
      if (request.size() == 6 && request[0] == "init") return init(request);
      if (request.size() >= 2 && request.size() % 2 == 0 && request[0] == "render" && templates_)
        return render(request);
      return {"error", "a request that is none"};
    } catch (const std::bad_alloc&) {
      return {"error", "it needs more memory than a template may"};
    } catch (const std::exception& failure) {
      return {"error", failure.what()};
    }
  }

 private:
  Strings init(const Strings& request) {
    templates_ = common_chat_templates_init(nullptr, request[1], request[2], request[3]);
    add_bos_ = request[4] == "1";
    add_eos_ = request[5] == "1";
    return templates_ ? Strings{"ok"} : Strings{"error", "no template"};
  }

  Strings render(const Strings& request) const {
    common_chat_templates_inputs inputs;
    inputs.add_generation_prompt = request[1] == "1";
    inputs.enable_thinking = false;
    inputs.add_bos = add_bos_;
    inputs.add_eos = add_eos_;
    for (std::size_t i = 2; i < request.size(); i += 2) {
      common_chat_msg message;
      message.role = request[i];
      message.content = request[i + 1];
      inputs.messages.push_back(std::move(message));
    }
    const common_chat_params rendered = common_chat_templates_apply(templates_.get(), inputs);
    Strings reply{"ok", rendered.prompt, rendered.thinking_start_tag};
    reply.insert(reply.end(), rendered.thinking_end_tags.begin(), rendered.thinking_end_tags.end());
    return reply;
  }

  common_chat_templates_ptr templates_;
  bool add_bos_ = false, add_eos_ = false;  ///< the tokenizer adds them, so they are taken out of the text
};

}  // namespace

int main() {
  set_limits();
  common_log_set_verbosity_thold(LOG_LEVEL_OUTPUT);
  Renderer renderer;
  Unpacker requests;
  std::array<char, 1 << 16> buffer{};
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    const Unpacker::Status status = requests.add(buffer.data(), static_cast<std::size_t>(n));
    if (status == Unpacker::Status::broken) return 1;
    if (status == Unpacker::Status::more) continue;
    set_clock(kSeconds);
    const std::string reply = morph::backbone::packed(renderer.answer(requests.take()));
    set_clock(0);
    if (!morph::backbone::send_all(STDIN_FILENO, reply)) return 0;
  }
}
