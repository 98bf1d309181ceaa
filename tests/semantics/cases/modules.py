"""Modules of torch.nn: text, names, initial values from the seed, results and gradients, with and without training."""

import math


def values(x):
    return [round(v, 6) + 0.0 for v in x.detach().reshape(-1)[:8].tolist()]


def tensors(found, torch):
    if isinstance(found, torch.Tensor):
        return [found]
    return [] if found is None else [x for part in found for x in tensors(part, torch)]


def given(torch, k, *shape):
    count = math.prod(shape)
    return torch.tensor([math.cos(i + k) for i in range(count)], dtype=torch.float64).reshape(shape).requires_grad_()


def run(torch, show, build, *shapes, **kwargs):
    torch.manual_seed(0)
    module = build(torch.nn)
    show(module)
    for name, p in module.state_dict().items():
        show(name, tuple(p.shape), p.reshape(-1)[:3].tolist())
    module.double()
    inputs = [given(torch, k, *shape) for k, shape in enumerate(shapes)]
    outputs = tensors(module(*inputs, **kwargs), torch)
    for out in outputs:
        show(tuple(out.shape), values(out))
    sum((x * x / 2 + x).sum() for x in outputs if x.is_floating_point()).backward()
    for x in [*inputs, *module.parameters()]:
        show(None if x.grad is None else values(x.grad))


RECURRENT = [
    (lambda nn: nn.LSTM(3, 4), (5, 2, 3)), (lambda nn: nn.GRU(3, 4), (5, 2, 3)), (lambda nn: nn.RNN(3, 4), (5, 2, 3)),
    (lambda nn: nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True), (2, 5, 3)),
    (lambda nn: nn.GRU(3, 4, 2, bidirectional=True, bias=False), (5, 2, 3)),
    (lambda nn: nn.LSTM(3, 4, proj_size=2), (5, 2, 3)), (lambda nn: nn.LSTM(3, 4), (5, 3)),
    (lambda nn: nn.RNN(3, 4, nonlinearity="relu"), (5, 2, 3), (1, 2, 4)),
    (lambda nn: nn.LSTMCell(3, 4), (2, 3)), (lambda nn: nn.GRUCell(3, 4), (2, 3), (2, 4)),
    (lambda nn: nn.RNNCell(3, 4, nonlinearity="relu"), (3,)),
]  # fmt: skip


def case_recurrent(torch, show, attempt):
    for build, *shapes in RECURRENT:
        run(torch, show, build, *shapes)


def case_packed_sequences(torch, show, attempt):
    rnn = torch.nn.utils.rnn
    for kind in ("LSTM", "GRU"):
        torch.manual_seed(0)
        module = getattr(torch.nn, kind)(2, 3, bidirectional=True, num_layers=2).double()
        packed = rnn.pack_padded_sequence(given(torch, 0, 4, 3, 2), [2, 4, 3], enforce_sorted=False)
        out, last = module(packed)
        padded, lengths = rnn.pad_packed_sequence(out)
        show(values(packed.data), packed.batch_sizes, padded.shape, values(padded), lengths)
        show([values(x) for x in tensors(last, torch)])
        (padded**2).sum().backward()
        show([values(p.grad) for p in module.parameters()][:2])
    parts = [torch.arange(3.0), torch.arange(1.0), torch.arange(2.0) + 5]
    show(rnn.pad_sequence(parts), rnn.pad_sequence(parts, batch_first=True, padding_value=-1.0, padding_side="left"))
    show(rnn.unpad_sequence(rnn.pad_sequence(parts), torch.tensor([3, 1, 2])), rnn.pack_sequence(parts, False).data)
    attempt(lambda: rnn.pack_padded_sequence(torch.ones(3, 2, 1), [1, 2]))


def case_recurrent_errors(torch, show, attempt):
    nn, ones = torch.nn, torch.ones
    attempt(lambda: nn.LSTM(3, 0))
    attempt(lambda: nn.LSTM(3, 4, dropout=2))
    attempt(lambda: nn.RNN(3, 4, nonlinearity="x"))
    attempt(lambda: nn.LSTM(3, 4)(ones(2, 2)))
    attempt(lambda: nn.LSTM(3, 4)(ones(2, 2, 2, 2)))
    attempt(lambda: nn.LSTM(3, 4)(ones(2, 2, 3), (ones(1, 2, 3), ones(1, 2, 4))))
    attempt(lambda: nn.GRU(3, 4)(ones(2, 2, 3), ones(2, 4)))
    attempt(lambda: nn.GRU(3, 4)(ones(2, 2, 3).double()))


def case_attention(torch, show, attempt):
    mask = torch.ones(3, 3).triu(1) != 0
    padding = torch.tensor([[False, False, True], [False, True, True]])
    run(torch, show, lambda nn: nn.MultiheadAttention(4, 2), (3, 2, 4), (5, 2, 4), (5, 2, 4))
    run(torch, show, lambda nn: nn.MultiheadAttention(4, 2, kdim=3, vdim=2, batch_first=True, add_bias_kv=True,
                                                      add_zero_attn=True), (2, 3, 4), (2, 5, 3), (2, 5, 2))
    same = [(3, 2, 4)] * 3
    run(torch, show, lambda nn: nn.MultiheadAttention(4, 2, bias=False), *same, attn_mask=mask, need_weights=False)
    run(torch, show, lambda nn: nn.MultiheadAttention(4, 2), *same, key_padding_mask=padding, average_attn_weights=False)
    run(torch, show, lambda nn: nn.MultiheadAttention(4, 2, dropout=0.3), (3, 4), (3, 4), (3, 4))
    attempt(lambda: torch.nn.MultiheadAttention(3, 2))
    attempt(lambda: torch.nn.MultiheadAttention(4, 2)(torch.ones(2, 4), torch.ones(2, 1, 4), torch.ones(2, 4)))


def case_transformers(torch, show, attempt):
    run(torch, show, lambda nn: nn.TransformerEncoderLayer(4, 2, 6).eval(), (3, 2, 4))
    run(torch, show, lambda nn: nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True, norm_first=True,
                                                           activation="gelu"), (2, 3, 4))
    run(torch, show, lambda nn: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0), 2, nn.LayerNorm(4)),
        (3, 2, 4))
    run(torch, show, lambda nn: nn.Transformer(4, 2, 1, 1, 6, dropout=0.0), (3, 2, 4), (5, 2, 4))
    show(torch.nn.Transformer.generate_square_subsequent_mask(3))


CONVOLUTIONS = [
    (lambda nn: nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1), (2, 2, 4)),
    (lambda nn: nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, groups=2), (1, 2, 3, 3)),
    (lambda nn: nn.ConvTranspose3d(1, 2, 2, bias=False), (1, 1, 2, 2, 2)),
    (lambda nn: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (1, 1, 4, 4)),
    (lambda nn: nn.Conv1d(1, 2, 3, padding="same", padding_mode="reflect"), (1, 1, 4)),
    (lambda nn: nn.Conv3d(1, 2, 2), (1, 1, 3, 3, 3)),
]  # fmt: skip


def case_convolutions(torch, show, attempt):
    for build, *shapes in CONVOLUTIONS:
        run(torch, show, build, *shapes)
    run(torch, show, lambda nn: nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1), (1, 2, 3, 3), output_size=[6, 6])
    attempt(lambda: torch.nn.ConvTranspose2d(2, 2, 3, stride=2)(torch.ones(1, 2, 3, 3), output_size=(20, 20)))
    attempt(lambda: torch.nn.ConvTranspose2d(1, 1, 1, padding_mode="reflect"))
    attempt(lambda: torch.nn.Conv2d(3, 4, 2, groups=2))
    attempt(lambda: torch.nn.Conv2d(2, 4, 2, stride=2, padding="same"))


OTHERS = [
    (lambda nn: nn.BatchNorm3d(2), (2, 2, 2, 2, 2)),
    (lambda nn: nn.InstanceNorm1d(2, affine=True, track_running_stats=True), (2, 2, 5)),
    (lambda nn: nn.InstanceNorm2d(2), (2, 3, 3)), (lambda nn: nn.LocalResponseNorm(2), (2, 4, 3)),
    (lambda nn: nn.ZeroPad2d((1, 2, 0, 1)), (1, 1, 3, 3)), (lambda nn: nn.ReflectionPad2d(1), (1, 1, 3, 3)),
    (lambda nn: nn.ReplicationPad1d((1, 2)), (1, 1, 3)), (lambda nn: nn.ConstantPad1d(1, 2.5), (1, 1, 3)),
    (lambda nn: nn.CircularPad2d(1), (1, 1, 3, 3)), (lambda nn: nn.Softmax2d(), (1, 3, 2, 2)),
    (lambda nn: nn.Bilinear(2, 3, 2), (2, 2), (2, 3)), (lambda nn: nn.PairwiseDistance(keepdim=True), (2, 3), (2, 3)),
    (lambda nn: nn.MaxPool2d(2, return_indices=True), (1, 1, 4, 4)), (lambda nn: nn.RReLU(), (2, 3)),
    (lambda nn: nn.Dropout3d(), (1, 4, 2, 2, 2)), (lambda nn: nn.FeatureAlphaDropout(), (1, 4, 2, 2)),
    (lambda nn: nn.MSELoss(size_average=False), (2, 3), (2, 3)), (lambda nn: nn.Fold((3, 4), 2), (1, 4, 6)),
    (lambda nn: nn.PixelUnshuffle(2), (1, 1, 4, 4)), (lambda nn: nn.ChannelShuffle(2), (1, 4, 1, 2)),
    (lambda nn: nn.Upsample(scale_factor=2), (1, 1, 2, 2)), (lambda nn: nn.UpsamplingBilinear2d(size=(3, 4)), (1, 1, 2, 2)),
    (lambda nn: nn.Upsample(size=3, mode="linear", align_corners=True), (1, 1, 2)),
    (lambda nn: nn.TripletMarginWithDistanceLoss(), (2, 3), (2, 3), (2, 3)),
]  # fmt: skip


def case_other_modules(torch, show, attempt):
    for build, *shapes in OTHERS:
        run(torch, show, build, *shapes)


def case_text_of_modules(torch, show, attempt):
    nn = torch.nn
    show(nn.LPPool2d(2, 3), nn.CTCLoss(), nn.EmbeddingBag(3, 2, mode="sum", padding_idx=1), nn.MaxUnpool2d(2))
    show(nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3), nn.ReLU()]), nn.ModuleList())
    show(nn.ParameterList([torch.ones(2, 3), 3]), nn.ParameterDict({"a": torch.ones(2, 3)}), nn.ModuleDict({"a": nn.ReLU()}))
    show(nn.Embedding(4, 2, padding_idx=-1), nn.Embedding.from_pretrained(torch.ones(2, 3)).weight)


def case_ctc_loss(torch, show, attempt):
    raw = torch.tensor([math.sin(k) for k in range(40)], dtype=torch.float64).reshape(5, 2, 4).requires_grad_()
    targets = torch.tensor([[1, 2, 0], [3, 3, 1]])
    for kwargs in ({}, {"reduction": "none"}, {"reduction": "sum", "zero_infinity": True}):
        lengths = torch.tensor([5, 4]), torch.tensor([2, 3])
        loss = torch.nn.functional.ctc_loss(raw.log_softmax(-1), targets, *lengths, **kwargs)
        show(values(loss), [round(v, 6) + 0.0 for v in torch.autograd.grad(loss.sum(), raw)[0].reshape(-1).tolist()])
    show(values(torch.nn.CTCLoss()(raw.log_softmax(-1), torch.tensor([1, 2, 3, 3, 1]), (5, 5), (2, 3))))


def case_random_functions(torch, show, attempt):
    F = torch.nn.functional
    x = given(torch, 0, 4, 6)
    show(values(F.gumbel_softmax(x, tau=0.5)), F.gumbel_softmax(x, hard=True).detach())
    show(values(F.rrelu(x, training=True)), values(F.feature_alpha_dropout(x.reshape(2, 3, 4), training=True)))
    show(values(F.dropout(x.t(), 0.5)), values(F.dropout(x.reshape(2, 3, 4).permute(1, 2, 0), 0.5)))


def case_bags(torch, show, attempt):
    table, places = given(torch, 0, 5, 2), torch.tensor([0, 3, 1, 4, 4, 2])
    F = torch.nn.functional
    for mode in ("mean", "sum", "max"):
        out = F.embedding_bag(places, table, torch.tensor([0, 2, 2]), mode=mode)
        show(values(out), values(torch.autograd.grad((out * out).sum(), table)[0]))
    attempt(lambda: F.embedding_bag(places, table))


def case_clipping(torch, show, attempt):
    nn = torch.nn
    module = nn.Linear(3, 2)
    for order in (2, 1, 3.0, math.inf):
        module.weight.grad, module.bias.grad = torch.ones(2, 3) * 3, torch.arange(2.0)
        show(nn.utils.clip_grad_norm_(module.parameters(), 1.0, order), module.weight.grad, module.bias.grad)
    nn.utils.clip_grad_value_(module.parameters(), 0.05)
    show(module.weight.grad, module.bias.grad)
    module.weight.grad *= math.nan
    attempt(lambda: nn.utils.clip_grad_norm_(module.parameters(), 1.0, error_if_nonfinite=True))
    show(nn.utils.clip_grad_norm_([torch.ones(2)], 1.0))
    vector = nn.utils.parameters_to_vector(module.parameters())
    show(vector.shape, vector.requires_grad)
    nn.utils.vector_to_parameters(torch.arange(8.0), module.parameters())
    show(module.weight, module.bias)
    attempt(lambda: nn.utils.vector_to_parameters([1.0], module.parameters()))


def case_weight_norm(torch, show, attempt):
    module = torch.nn.utils.weight_norm(torch.nn.Linear(3, 2))
    out = module(torch.ones(1, 3))
    out.sum().backward()
    show(list(module.state_dict()), values(out), values(module.weight_g.grad), values(module.weight_v.grad))
    torch.nn.utils.remove_weight_norm(module)
    show(list(module.state_dict()), values(module(torch.ones(1, 3))))


def case_hooks_of_modules(torch, show, attempt):
    nn, log = torch.nn, []
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()

    def halved(mod, grad_input, grad_output):
        log.append((values(grad_input[0]), values(grad_output[0])))
        return (grad_input[0] * 2,)

    module[0].register_forward_pre_hook(lambda mod, args: (args[0] * 2,))
    module[0].register_forward_pre_hook(lambda mod, args, kwargs: log.append(kwargs), with_kwargs=True)
    module[1].register_full_backward_hook(halved)
    module[2].register_full_backward_pre_hook(lambda mod, grad_output: (grad_output[0] * 3,))
    handle = module.register_forward_hook(lambda mod, args, out: out + 1)
    x = given(torch, 0, 2, 2)
    y = module(x)
    y.sum().backward()
    handle.remove()
    z = module(x)
    show(log, values(x.grad), values(module[0].weight.grad), values(y - z), y.grad_fn.name(), z.grad_fn.name())
    plain, seen = nn.Linear(2, 2), []
    plain.register_full_backward_hook(lambda mod, grad_input, grad_output: seen.append((grad_input, grad_output[0].shape)))
    plain(torch.ones(1, 2)).sum().backward()
    show(seen)


def case_module_errors(torch, show, attempt):
    nn, ones = torch.nn, torch.ones

    def linear():
        return nn.Linear(2, 2)

    for wrong in (
        lambda: linear().register_parameter("a.b", None), lambda: linear().register_parameter("w", ones(2)),
        lambda: linear().register_buffer("weight", ones(2)), lambda: linear().register_buffer("w", 3),
        lambda: linear().add_module("weight", None), lambda: linear().add_module("x", 3),
        lambda: linear().get_submodule("q.r"), lambda: linear().get_parameter("q"), lambda: linear().get_buffer("weight"),
        lambda: linear().missing, lambda: linear().to(torch.int64), lambda: linear().load_state_dict({"a": 1}),
        lambda: linear().load_state_dict({"weight": 3, "bias": ones(2)}),
        lambda: linear().load_state_dict({"weight": ones(3)}),
        lambda: linear().load_state_dict(3), lambda: setattr(linear(), "weight", ones(2)), lambda: linear().train(3),
        lambda: setattr(nn.BatchNorm1d(2), "running_mean", 3), lambda: setattr(nn.Sequential(nn.ReLU()), "0", 3),
        lambda: nn.Sequential(nn.ReLU())[3], lambda: nn.ModuleList([nn.ReLU()])[3], lambda: nn.Module()(3),
        lambda: nn.BatchNorm2d(3)(ones(1, 2)), lambda: nn.InstanceNorm2d(3, affine=True)(ones(1, 2, 2, 2)),
        lambda: nn.GroupNorm(2, 3), lambda: nn.functional.interpolate(ones(1, 1, 2)),
        lambda: nn.functional.interpolate(ones(1, 1, 2), size=(2, 3)), lambda: nn.functional.fold(ones(1, 3, 4), 3, 2),
        lambda: nn.functional.interpolate(ones(1, 1, 2), size=4, align_corners=True),
        lambda: nn.functional.grid_sample(ones(1, 1, 2, 2), ones(1, 2, 2, 3)),
        lambda: nn.functional.pixel_unshuffle(ones(1, 3, 2), 2),
    ):  # fmt: skip
        attempt(wrong)


def case_containers(torch, show, attempt):
    nn = torch.nn
    chain = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    chain.insert(1, nn.Tanh())
    chain.append(nn.Identity())
    show(chain, chain.pop(-1), len(chain), chain[1:])
    listed = nn.ModuleList([nn.ReLU()])
    listed.insert(0, nn.Tanh())
    listed += [nn.Linear(1, 1)]
    del listed[1]
    show(listed, [n for n, _ in listed.named_parameters()])
    named = nn.ParameterDict({"a": torch.ones(1), "b": nn.Parameter(torch.zeros(1))})
    named.update({"c": torch.ones(2)})
    show(list(named.keys()), named.pop("b"), "b" in named, list(named.state_dict()), named.get("x", 5))
    shared = nn.Linear(1, 1)
    twice = nn.Sequential(shared, shared)
    show([n for n, _ in twice.named_parameters()], [n for n, _ in twice.named_parameters(remove_duplicate=False)])
    show([n for n, _ in twice.named_modules()], list(twice.state_dict()))


def case_dtype_keeps_the_parameters(torch, show, attempt):
    module = torch.nn.Linear(2, 1)
    before = module.weight
    module(torch.ones(1, 2)).sum().backward()
    module.double()
    show(module.weight is before, module.weight.dtype, module.weight.grad.dtype, module.to(torch.float32).bias.dtype)
    assigned = torch.nn.Linear(2, 1)
    assigned.load_state_dict(module.state_dict(), assign=True)
    show(assigned.weight, assigned.weight.requires_grad)
