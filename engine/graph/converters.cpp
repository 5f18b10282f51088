// See converters.h.
#include "graph/converters.h"

#include <algorithm>
#include <utility>

namespace morph {
namespace {

struct Candidate {
  const StageSpec* spec;
  Params params;
};

std::vector<Candidate> candidates(const Registry& registry) {
  std::vector<Candidate> all;
  for (const auto& [name, spec] : registry.stages()) {  // a map: by name
    if (!spec.converter || spec.inputs.size() != 1 || spec.outputs.size() != 1) continue;
    if (std::any_of(spec.params.begin(), spec.params.end(), [](const ParamSpec& param) { return param.required; }))
      continue;
    Params params;
    for (const ParamSpec& param : spec.params) params.set(param.name, param.default_value);
    all.push_back({&spec, std::move(params)});
  }
  return all;
}

/// A converter fed with a pattern: the format it is given, and what it offers then.
struct Applied {
  Format input;
  std::vector<FormatPattern> offered;
};

std::vector<Applied> apply(const Candidate& candidate, const std::vector<FormatPattern>& offered,
                           const std::function<std::filesystem::path(const std::string&)>& find_model) {
  std::vector<Applied> results;
  for (const FormatPattern& offer : offered) {
    for (const FormatPattern& accepted : candidate.spec->inputs[0].formats) {
      const std::optional<FormatPattern> shared = intersect(offer, accepted);
      if (!shared) continue;
      Applied applied{fixate(*shared), candidate.spec->outputs[0].formats};
      if (candidate.spec->resolve) {
        const Format* inputs[] = {&applied.input};
        try {
          std::vector<std::vector<FormatPattern>> resolved =
              candidate.spec->resolve(ResolveContext{candidate.params, inputs, find_model, "cpu"});
          if (resolved.size() != 1) continue;
          applied.offered = std::move(resolved.front());
        } catch (const Error&) {  // this converter cannot take this format; another may
          continue;
        }
      }
      results.push_back(std::move(applied));
    }
  }
  return results;
}

/// The first of `offered` that one of `accepted` takes, made concrete.
std::optional<Format> meet(const std::vector<FormatPattern>& offered, const std::vector<FormatPattern>& accepted) {
  for (const FormatPattern& offer : offered)
    for (const FormatPattern& pattern : accepted)
      if (const std::optional<FormatPattern> shared = intersect(offer, pattern)) return fixate(*shared);
  return std::nullopt;
}

/// What is offered with the choices that it leaves made as `accepted` wants them, then as it stands: a converter in the
/// middle that would keep what it is given (two channels, say) makes way for what is needed behind the next one.
std::vector<FormatPattern> towards(const std::vector<FormatPattern>& accepted,
                                   const std::vector<FormatPattern>& offered) {
  std::vector<FormatPattern> all;
  for (const FormatPattern& pattern : accepted)
    for (FormatPattern offer : offered) {
      for (const auto& [field, wanted] : pattern.fields) {
        const auto found = offer.fields.find(field);
        if (found == offer.fields.end()) continue;
        if (const std::optional<Constraint> both = found->second.intersect(wanted)) found->second = *both;
      }
      all.push_back(std::move(offer));
    }
  all.insert(all.end(), offered.begin(), offered.end());
  return all;
}

}  // namespace

ConverterSearch find_converters(const Registry& registry,
                                const std::function<std::filesystem::path(const std::string&)>& find_model,
                                const std::vector<FormatPattern>& offered, const std::vector<FormatPattern>& accepted) {
  ConverterSearch search;
  const std::vector<Candidate> all = candidates(registry);
  for (const Candidate& candidate : all) search.considered.push_back(candidate.spec->name);
  std::vector<std::pair<const Candidate*, Applied>> first_hops;
  for (const Candidate& candidate : all)
    for (Applied& applied : apply(candidate, offered, find_model)) {
      if (std::optional<Format> output = meet(applied.offered, accepted)) {
        search.chain = ConverterChain{{{candidate.spec, candidate.params, applied.input, *output}}};
        return search;
      }
      first_hops.emplace_back(&candidate, std::move(applied));
    }
  for (const auto& [first, first_applied] : first_hops)
    for (const Candidate& second : all) {
      if (&second == first) continue;
      for (const Applied& applied : apply(second, towards(accepted, first_applied.offered), find_model))
        if (std::optional<Format> output = meet(applied.offered, accepted)) {
          search.chain = ConverterChain{{{first->spec, first->params, first_applied.input, applied.input},
                                         {second.spec, second.params, applied.input, *output}}};
          return search;
        }
    }
  return search;
}

}  // namespace morph
