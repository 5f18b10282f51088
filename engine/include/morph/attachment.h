// Attachment: something of the application's that a run works on and that outlives it, such as the conversation that
// one run per request goes on with. The engine hands it through and knows nothing of it; a modality derives its own
// (morph::Conversation) and the stage that wants it names the key under which it looks.
#pragma once

#include <map>
#include <memory>
#include <string>

namespace morph {

/// Destroyed by its last owner. While a run that was given it lives, whoever else holds it leaves it alone, unless its
/// type says otherwise.
class Attachment {
 public:
  Attachment() = default;
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;
  virtual ~Attachment() = default;
};

/// By "stage" (as in Plan::nodes) or, for whichever stage asks for it, by the stage's own key ("conversation").
using Attachments = std::map<std::string, std::shared_ptr<Attachment>>;

}  // namespace morph
