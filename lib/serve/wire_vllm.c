/*
 * Owns vLLM's habits, and our own, which are the same under the engine's name. Data. Written from
 * the recorded bytes of vLLM 0.32; tests/integration/test_api_recorded.c compares.
 */
#include "wire.h"

#include "api_admin.h"
#include "engine_stats.h"

/* ---- chat ---- */

#define CHAT(choices)                                                                              \
	"data: {'id':'$id','object':'chat.completion.chunk','created':$created,'model':'$model',"  \
	"'choices':[" choices "]"

#define EACH_USAGE                                                                                 \
	"$?c{,'usage':{'prompt_tokens':$prompt_tokens,'total_tokens':$total_tokens,"               \
	"'completion_tokens':$completion_tokens,'completion_tokens_details':null}$}"

#define USAGE                                                                                      \
	",'usage':{'prompt_tokens':$prompt_tokens,'total_tokens':$total_tokens,"                   \
	"'completion_tokens':$completion_tokens"

/* With usage asked for, the fingerprint stands beside it, else beside the finish reason. */
#define END_MARK "$!u{,'system_fingerprint':'$fingerprint'$}}\n\n"

#define BODY_END                                                                                   \
	"],'service_tier':null,'system_fingerprint':'$fingerprint'" USAGE                          \
	",'prompt_tokens_details':null,'completion_tokens_details':null}"

#define BODY_TAIL ",'kv_transfer_params':null,'ec_transfer_params':null,'metrics':null}"

static const struct api_dialect chat = {
	.id = "chatcmpl-xxxxxxxxxxxxxxxx",
	.role = CHAT("{'index':$index,'delta':{'role':'assistant','content':''},'logprobs':null,"
		     "'finish_reason':null}") EACH_USAGE
	",'prompt_token_ids':null,'prompt_text':null}\n\n",
	.token = CHAT("{'index':$index,'delta':{'content':'$text'},'logprobs':$logprobs,"
		      "'finish_reason':null,'token_ids':null}") EACH_USAGE "}\n\n",
	.last = CHAT("{'index':$index,'delta':{'content':'$text'},'logprobs':$logprobs,"
		     "'finish_reason':$finish,'stop_reason':$stop,'token_ids':null}")
		EACH_USAGE END_MARK,
	.usage = CHAT("") USAGE "},'system_fingerprint':'$fingerprint'}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'id':'$id','object':'chat.completion','created':$created,'model':'$model',"
		"'choices':[",
	.body_choice = "{'index':$index,'message':{'role':'assistant','content':'$text',"
		       "'refusal':null,'annotations':null,'audio':null,'function_call':null,"
		       "'reasoning':null},'logprobs':$logprobs,'finish_reason':$finish,"
		       "'stop_reason':$stop,'token_ids':null,'routed_experts':null}",
	.body_end = BODY_END
	",'prompt_logprobs':null,'prompt_token_ids':null,'prompt_text':null" BODY_TAIL,
	.words = {"stop", "stop", "length"},
	.roles_together = true,
	.shows_nothing = true,
};

/* ---- completions ---- */

#define TEXT(choices)                                                                              \
	"data: {'id':'$id','object':'text_completion','created':$created,'model':'$model',"        \
	"'choices':[" choices "]"

static const struct api_dialect completions = {
	.id = "cmpl-xxxxxxxxxxxxxxxx",
	.token = TEXT(
		"{'index':$index,'text':'$text','logprobs':$logprobs_text,'finish_reason':null,"
		"'stop_reason':null,'prompt_token_ids':$prompt_ids,'token_ids':null}") EACH_USAGE
	"}\n\n",
	.last = TEXT(
		"{'index':$index,'text':'$text','logprobs':$logprobs_text,'finish_reason':$finish,"
		"'stop_reason':$stop,'prompt_token_ids':$prompt_ids,'token_ids':null}")
		EACH_USAGE END_MARK,
	.usage = TEXT("") USAGE "},'system_fingerprint':'$fingerprint'}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'id':'$id','object':'text_completion','created':$created,'model':'$model',"
		"'choices':[",
	.body_choice =
		"{'index':$index,'text':'$text','logprobs':$logprobs_text,'finish_reason':$finish,"
		"'stop_reason':$stop,'token_ids':null,'prompt_logprobs':null,"
		"'prompt_token_ids':$prompt_ids,'routed_experts':null}",
	.body_end = BODY_END BODY_TAIL,
	.words = {"stop", "stop", "length"},
	.shows_nothing = true,
};

/* ---- the rest ---- */

const struct refusal_words refusals_vllm[N_REFUSALS] = {
	[REFUSE_JSON] = {400, API_BAD_FORM, NULL},
	[REFUSE_FORM] = {400, API_BAD_FORM, NULL},
	[REFUSE_VALUE] = {400, API_BAD_VALUE, NULL},
	[REFUSE_FIELD] = {400, API_BAD_FORM, NULL},
	[REFUSE_LENGTH] = {400, API_BAD_VALUE, NULL},
	[REFUSE_KEY] = {401, "AuthenticationError", NULL},
	[REFUSE_MODEL] = {404, "NotFoundError", NULL},
	[REFUSE_ROUTE] = {404, NULL, "{'detail':'Not Found'}"},
	[REFUSE_METHOD] = {405, NULL, "{'detail':'Method Not Allowed'}"},
	[REFUSE_BUSY] = {429, "TooManyRequestsError", NULL},
	[REFUSE_UNREADY] = {503, "ServiceUnavailableError", NULL},
	[REFUSE_ENGINE] = {500, "InternalServerError", NULL},
};

static const struct route routes[] = {
	{"/v1/chat/completions", "POST", api_generate, API_CHAT, &chat},
	{"/v1/completions", "POST", api_generate, API_COMPLETIONS, &completions},
	{"/v1/models", "GET", admin_models, 0, NULL},
	{"/tokenize", "POST", admin_tokenize, 0, NULL},
	{"/health", "GET", admin_health, 0, NULL},
	{"/ready", "GET", admin_ready, 0, NULL},
	{"/ping", "GET", admin_health, 0, NULL},
	{"/load", "GET", admin_load, 0, NULL},
	{"/version", "GET", admin_version, 0, NULL},
	{"/metrics", "GET", admin_metrics, 0, NULL},
	{0},
};

static const struct http_habit uvicorn_vllm = {
	.server = "uvicorn",
	.fields =
		(const struct head_field[]){
			{HEAD_DATE, "date", HEAD_ALWAYS, NULL},
			{HEAD_SERVER, "server", HEAD_ALWAYS, NULL},
			{HEAD_EXTRA, NULL, HEAD_ALWAYS, NULL},
			{HEAD_LENGTH, "content-length", HEAD_ALWAYS, NULL},
			{HEAD_TYPE, "content-type", HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "vary", HEAD_ALWAYS, "Origin"},
			{HEAD_CONNECTION, "connection", HEAD_ALWAYS, NULL},
			{HEAD_CHUNKED, "transfer-encoding", HEAD_ALWAYS, NULL},
			{HEAD_END, NULL, 0, NULL},
		},
};

#define VLLM_ON_THE_WIRE                                                                           \
	.json_type = "application/json", .stream_type = "text/event-stream; charset=utf-8",        \
	.text_type = "text/plain; charset=utf-8", .takes_request_id = true,                        \
	.refusals = refusals_vllm,                                                                 \
	.error = "{'error':{'message':'$message','type':'$type','param':$param,'code':$status}}",  \
	.error_event = "data: {'error':{'message':'$message','type':'$type','param':$param,"       \
		       "'code':$status}}\n\n",                                                     \
	.health = "", .models = "{'object':'list','data':[",                                       \
	.models_item = "{'id':'$model','object':'model','created':$created,'owned_by':'$engine',"  \
		       "'root':'$model','parent':null,'max_model_len':$context,'permission':["     \
		       "{'id':'modelperm-$id','object':'model_permission','created':$created,"     \
		       "'allow_create_engine':false,'allow_sampling':true,'allow_logprobs':false," \
		       "'allow_search_indices':false,'allow_view':true,'allow_fine_tuning':false," \
		       "'organization':'*','group':null,'is_blocking':false}]}",                   \
	.models_end = "]}", .routes = routes, .metrics = engine_stats_show,                        \
	.metrics_type = "text/plain; version=1.0.0; charset=utf-8"

const struct wire_habit wire_own = {
	.name = "own",
	.help = "vLLM's, under the engine's own name",
	.basis = "recorded: vLLM 0.32",
	.http = &http_habit_own,
	VLLM_ON_THE_WIRE,
};

const struct wire_habit wire_vllm = {
	.name = "vllm",
	.help = "vLLM's OpenAI server",
	.basis = "recorded: vLLM 0.32",
	.http = &uvicorn_vllm,
	VLLM_ON_THE_WIRE,
};
