// See step_error.h.
#include "exec/step_error.h"

#include <exception>

#include "base/short_of_memory.h"

namespace morph::exec {

std::shared_ptr<const Error> placed(const std::shared_ptr<const Error>& error, const std::string& where) {
  if (error->where().compare(0, where.size(), where) == 0) return error;
  const std::string message = error->where().empty() ? error->message() : error->where() + ": " + error->message();
  return std::make_shared<const Error>(error->code(), where, message);
}

std::shared_ptr<const Error> current_error(const std::string& where) {
  try {
    throw;
  } catch (const Error& error) {
    return placed(std::make_shared<const Error>(error), where);
  } catch (const std::exception& error) {
    if (is_short_of_memory(error))
      return std::make_shared<const Error>(ErrorCode::resource, where,
                                           std::string("expected memory for a step, found too little (") +
                                               error.what() +
                                               "); close other runs, give it a smaller input, or raise the limit");
    return std::make_shared<const Error>(ErrorCode::internal, where,
                                         std::string("an exception of a library was thrown: ") + error.what());
  } catch (...) {
    return std::make_shared<const Error>(ErrorCode::internal, where, "something was thrown that is no exception");
  }
}

}  // namespace morph::exec
