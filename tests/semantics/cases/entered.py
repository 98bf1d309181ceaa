"""Public names that nothing else enters: initialisers, containers, settings, utilities, methods by their second names."""

import io
import warnings


def near(x):
    return x.round(decimals=4) if hasattr(x, "round") and x.dtype.is_floating_point else x


def case_initialisers(torch, show, attempt):
    init = torch.nn.init
    for name, args in (("uniform_", (-1.0, 2.0)), ("normal_", (1.0, 0.5)), ("constant_", (3.0,)), ("ones_", ()), ("zeros_", ()),
                       ("eye_", ()), ("xavier_uniform_", (2.0,)), ("xavier_normal_", ()), ("kaiming_uniform_", (0.2,)),
                       ("kaiming_normal_", (0, "fan_out", "relu")), ("trunc_normal_", ()), ("trunc_normal_", (0.0, 1.0, 3.0, 4.0))):
        for dtype in (torch.float32, torch.float64):
            x = torch.nn.Parameter(torch.empty(3, 2, dtype=dtype))
            show(name, getattr(init, name)(x, *args) is x, near(x.detach()))
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        show(name, round(init.calculate_gain(name), 6))
    show(near(init.sparse_(torch.empty(4, 3), 0.5)).shape, init.dirac_(torch.empty(4, 2, 3), 2))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        init.trunc_normal_(torch.empty(2), 9.0)
    show([str(w.message) for w in found], torch.rand(1))
    attempt(lambda: init.kaiming_normal_(torch.empty(2), mode="fan_out"))
    attempt(lambda: init.calculate_gain("nothing"))


def case_module_methods(torch, show, attempt):
    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    net.extend([torch.nn.ReLU(), torch.nn.Linear(2, 1)])
    show(net, net.requires_grad_(False)[0].weight.requires_grad, net.float() is net, net.cpu() is net)
    net.register_module("last", torch.nn.Identity())
    net.set_submodule("1", torch.nn.Tanh())
    show(net, net.type(torch.float64)[0].weight.dtype, net.share_memory() is net)
    names = []
    net.apply(lambda m: names.append(type(m).__name__))
    show(names, torch.nn.Identity(1, two=2)(torch.ones(1)))
    found = torch.nn.ModuleDict({"a": torch.nn.Linear(1, 1), "b": torch.nn.Tanh()})
    show(list(found.keys()), [type(m).__name__ for m in found.values()], [k for k, _ in found.items()], found.pop("b"), len(found))
    found.clear()
    show(len(found))
    values = torch.nn.ParameterDict({"a": torch.ones(1)})
    show(values.setdefault("b", torch.zeros(1)), list(values.values()), list(values.copy().keys()))
    values.clear()
    show(len(values))
    rnn = torch.nn.GRU(2, 3)
    rnn.flatten_parameters()
    show([[p.shape for p in layer] for layer in rnn.all_weights])
    show(torch.nn.Unflatten(1, (2, 2)), torch.nn.Unflatten(1, (2, 2))(torch.arange(8.0).reshape(2, 4)).shape)


def case_normalising_layers(torch, show, attempt):
    x = torch.tensor([[[1.0, 2.0], [3.0, 5.0], [0.5, -1.0], [2.0, 2.5]]])
    show(torch.nn.GroupNorm(2, 4), near(torch.nn.GroupNorm(2, 4)(x)), torch.nn.RMSNorm(2), near(torch.nn.RMSNorm(2)(x)))
    table = torch.nn.Embedding.from_pretrained(torch.arange(6.0).reshape(3, 2))
    bag = torch.nn.EmbeddingBag.from_pretrained(torch.arange(6.0).reshape(3, 2), mode="sum")
    show(table(torch.tensor([2, 0])), bag(torch.tensor([[0, 1], [2, 2]])))


def case_clipping(torch, show, attempt):
    p = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    p.grad = torch.tensor([3.0, 4.0])
    utils = torch.nn.utils
    total = utils.get_total_norm([p.grad])
    show(total)
    utils.clip_grads_with_norm_([p], 2.5, total)
    show(near(p.grad), near(utils.clip_grad_norm_([p], 1.0)), near(p.grad))
    utils.clip_grad_value_([p], 0.7)
    show(near(p.grad))


def case_schedules_and_averages(torch, show, attempt):
    model = torch.nn.Linear(1, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 2, 0.5)
    for _ in range(3):
        optimiser.step()
        schedule.step()
    state = schedule.state_dict()
    again = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(model.parameters(), lr=1.0), 7, 0.1)
    again.load_state_dict(state)
    show(schedule.get_last_lr(), again.last_epoch, again.step_size, again.gamma)
    swa = torch.optim.swa_utils
    averaged = swa.AveragedModel(torch.nn.Sequential(torch.nn.BatchNorm1d(1)), avg_fn=swa.get_ema_avg_fn(0.5))
    averaged.update_parameters(torch.nn.Sequential(torch.nn.BatchNorm1d(1)))
    swa.update_bn([torch.tensor([[1.0], [3.0]])], averaged)
    show(averaged.n_averaged, near(averaged(torch.tensor([[1.0], [2.0]])).detach()), averaged.module[0].running_mean)
    show(near(swa.get_ema_avg_fn(0.25)(torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3))))


def case_autograd_functions(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    show(torch.autograd.functional.vhp(lambda v: (v**3).sum(), x, torch.ones(2, dtype=torch.float64)))
    y = x * 2
    edge = torch.autograd.graph.get_gradient_edge(y)
    show(type(edge.node).__name__, edge.output_nr, torch.autograd.grad(y.sum(), edge.node.next_functions[0][0].variable))


def case_settings(torch, show, attempt):
    torch.use_deterministic_algorithms(True)
    show(torch.are_deterministic_algorithms_enabled())
    torch.use_deterministic_algorithms(False)
    show(torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(), torch.get_default_device())
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    show(torch.can_cast(torch.float32, torch.int64), torch.can_cast(torch.int64, torch.float32))
    show(torch.can_cast(torch.float64, torch.float32), torch.can_cast(torch.int64, torch.bool), torch.is_inference(torch.ones(1)))
    with torch.inference_mode():
        show(torch.is_inference(torch.ones(1)))
    torch.manual_seed(5)
    show(torch.initial_seed(), torch.random.initial_seed(), isinstance(torch.seed(), int), isinstance(torch.random.seed(), int))
    torch.random.manual_seed(7)
    show(torch.rand(1), torch.float32.is_complex, torch.float32.is_signed, torch.bool.is_signed)
    torch.set_printoptions(precision=2)
    show(torch.tensor([1.23456]), torch.is_complex(torch.ones(1)), torch.is_nonzero(torch.tensor(2.0)))
    torch.set_printoptions(profile="default")
    show(torch.tensor([1.23456]), torch.broadcast_shapes((3, 1), (1, 4)), torch.typename(torch.ones(1)), torch.typename(3))


def case_small_methods(torch, show, attempt):
    x = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    show(x.is_complex(), x.is_signed(), x.get_device(), x.ndimension(), x.is_nested, x.is_cpu, x.is_sparse, x.is_quantized, x.is_meta)
    show(x.is_conj(), x.is_neg(), x.is_distributed(), x.pin_memory is not None)
    show(x.mT, x.mH, x.H, x.adjoint(), x.real, x.conj(), x.conj_physical(), x.resolve_conj(), x.resolve_neg(), torch.real(x))
    show(x.reshape_as(torch.ones(4)), x.ravel(), x.sum_to_size(1, 2), x.swapdims(0, 1), x.moveaxis(0, 1), x.broadcast_to(2, 2, 2))
    for name in ("swapaxes_", "swapdims_", "transpose_"):
        show(getattr(x.clone(), name)(0, 1))
    show(x.unsafe_chunk(2), x.unsafe_split(1), x.unsafe_split_with_sizes([1, 1]), x.share_memory_().shape, x.is_nonzero is not None)
    show(torch.asarray([1, 2]), torch.empty_like(x).shape, torch.from_dlpack(x), torch.range(0, 2), torch.randint_like(x, 1))
    for name, args in (("geometric_", (0.4,)), ("log_normal_", ()), ("log_normal_", (0.5, 0.25)), ("cauchy_", ()),
                       ("cauchy_", (1.0, 0.5)), ("exponential_", (2.0,)), ("random_", (3, 9)), ("normal_", (1.0, 2.0))):
        for dtype in (torch.float32, torch.float64):
            show(name, near(getattr(torch.empty(3, dtype=dtype), name)(*args)))
    show(x.bernoulli(0.0), torch.multinomial(torch.tensor([0.0, 1.0]), 1), torch.tensor([0.0, 1.0]).multinomial(1), torch.fill(x, 2.0))
    file = io.BytesIO()
    torch.save(x, file)
    show(len(file.getvalue()) > 0)


def wave(torch, *shape):
    count = 1
    for n in shape:
        count *= n
    return (torch.arange(float(count), dtype=torch.float64) * 0.7 + 0.1).sin().reshape(shape)


def layers_on(torch, show, table):
    """Every layer's text and result; the results together, so that one thing is compiled."""
    results = []
    for name, args, inputs in table:
        options = args[-1] if args and isinstance(args[-1], dict) else {}
        layer = getattr(torch.nn, name)(*(a for a in args if a is not options), **options)
        found = layer(*inputs)
        found = found[0] if isinstance(found, tuple) else found
        show(layer, tuple(found.shape))
        results.append(found.double().reshape(-1))
    show(torch.cat(results).detach().round(decimals=5).tolist())


def case_activation_layers(torch, show, attempt):
    x = wave(torch, 2, 6) * 3
    names = ("CELU", "ELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "ReLU6",
             "SELU", "Sigmoid", "SiLU", "Softplus", "Softshrink", "Softsign", "Tanhshrink", "Tanh", "ReLU", "GELU", "Identity")
    table = [(n, (), (x,)) for n in names]
    table += [("Softmin", (1,), (x,)), ("LogSoftmax", (1,), (x,)), ("Softmax", (0,), (x,)), ("Threshold", (0.1, 20.0), (x,)),
              ("ELU", (0.5,), (x,)), ("Hardtanh", (-2.0, 0.5), (x,)), ("Softplus", (2, 3), (x,))]
    layers_on(torch, show, table)


def case_pooling_layers(torch, show, attempt):
    a, b, c = wave(torch, 1, 2, 7), wave(torch, 1, 2, 4, 5), wave(torch, 1, 1, 4, 4, 4)
    table = [("AdaptiveAvgPool1d", (3,), (a,)), ("AdaptiveAvgPool2d", ((2, None),), (b,)), ("AdaptiveAvgPool3d", (2,), (c,)),
             ("AdaptiveMaxPool1d", (3,), (a,)), ("AdaptiveMaxPool2d", (2,), (b,)), ("AdaptiveMaxPool3d", (2,), (c,)),
             ("AvgPool1d", (3, 2, 1), (a,)), ("AvgPool2d", (2,), (b,)), ("AvgPool3d", (2,), (c,)), ("LPPool1d", (2, 3), (a.abs(),)),
             ("LPPool2d", (2, 2), (b.abs(),)), ("LPPool3d", (2, 2), (c.abs(),)), ("MaxPool1d", (3, 2), (a,)), ("MaxPool2d", (2,), (b,)),
             ("MaxPool3d", (2,), (c,)), ("MaxUnpool1d", (2,), (a[..., :3], torch.tensor([[[0, 3, 4], [1, 2, 5]]]))),
             ("MaxUnpool3d", (2,), (c[..., :1, :1, :1], torch.tensor([[[[[5]]]]]))), ("PixelShuffle", (2,), (wave(torch, 1, 4, 2, 2),)),
             ("PixelUnshuffle", (2,), (wave(torch, 1, 1, 4, 4),)), ("Unfold", (2,), (b,)), ("UpsamplingNearest2d", ((6, 5),), (b,)),
             ("UpsamplingBilinear2d", ((6, 5),), (b,)), ("ChannelShuffle", (2,), (wave(torch, 1, 4, 2, 2),))]
    layers_on(torch, show, table)


def case_padding_layers(torch, show, attempt):
    a, b, c = wave(torch, 1, 2, 5), wave(torch, 1, 1, 3, 4), wave(torch, 1, 1, 3, 3, 3)
    names = ("CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d ReflectionPad2d "
             "ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d")
    inputs = {"1d": a, "2d": b, "3d": c}
    layers_on(torch, show, [(n, (1, 0.5) if n.startswith("C") and "stant" in n else (1,), (inputs[n[-2:]],)) for n in names.split()])


def case_loss_layers(torch, show, attempt):
    x, y = wave(torch, 3, 4), wave(torch, 3, 4).flip(1) * 0.9
    unit, sign, classes = x.sigmoid(), torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64), torch.tensor([2, 0, 3])
    several = torch.tensor([[2, 0, -1, 1], [3, -1, 0, 1], [0, 1, 2, 3]])
    table = [("BCELoss", (), (unit, y.sigmoid())), ("BCEWithLogitsLoss", (), (x, unit)), ("CrossEntropyLoss", (), (x, classes)),
             ("CosineEmbeddingLoss", (), (x, y, sign)), ("CosineSimilarity", (), (x, y)), ("GaussianNLLLoss", (), (x, y, unit)),
             ("HingeEmbeddingLoss", (), (x[0, :3], sign)), ("HuberLoss", (), (x, y)), ("KLDivLoss", ({"reduction": "batchmean"},),
             (x.log_softmax(1), y.softmax(1))), ("L1Loss", (), (x, y)), ("MarginRankingLoss", (), (x[:, 0], y[:, 0], sign)),
             ("MSELoss", (), (x, y)), ("MultiLabelMarginLoss", (), (x, several)), ("MultiLabelSoftMarginLoss", (), (x, (y > 0).double())),
             ("MultiMarginLoss", (), (x, classes)), ("NLLLoss", (), (x.log_softmax(1), classes)), ("PoissonNLLLoss", (), (x, unit)),
             ("SmoothL1Loss", (), (x, y)), ("SoftMarginLoss", (), (x, y.sign())), ("TripletMarginLoss", (), (x, y, x * 2)),
             ("PairwiseDistance", (), (x, y))]
    layers_on(torch, show, table)


def case_layers_that_draw(torch, show, attempt):
    x = torch.ones(2, 3, 4)
    for name in ("AlphaDropout", "Dropout1d", "Dropout2d", "Dropout3d", "Dropout", "FeatureAlphaDropout"):
        layer = getattr(torch.nn, name)(0.4)
        show(layer, layer(x.reshape(2, 3, 4, 1) if name[-2] in "23" else x).shape, layer.eval()(x).equal(x))
    show(near(torch.nn.InstanceNorm3d(2)(wave(torch, 1, 2, 2, 2, 2).float())).shape, torch.nn.InstanceNorm3d(2))
    layer = torch.nn.TransformerDecoderLayer(4, 2, 8, 0.0, batch_first=True)
    net = torch.nn.TransformerDecoder(layer, 2)
    for p in net.parameters():
        torch.nn.init.constant_(p, 0.1)
    show(net(torch.ones(1, 2, 4), torch.ones(1, 3, 4)).shape, layer)


def case_module_queries(torch, show, attempt):
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Sequential(torch.nn.ReLU()))
    show([n for n, _ in net.named_children()], len(list(net.children())), [n for n, _ in net.named_buffers()])
    show(isinstance(torch.nn.GRU(1, 1), torch.nn.RNNBase), isinstance(torch.nn.GRUCell(1, 1), torch.nn.RNNCellBase))
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    optimiser.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.2})
    show(isinstance(optimiser, torch.optim.Optimizer), [g["lr"] for g in optimiser.param_groups])


def case_functions_in_place(torch, show, attempt):
    F = torch.nn.functional
    for name, args in (("celu_", ()), ("elu_", ()), ("hardtanh_", ()), ("selu_", ()), ("threshold_", (0.0, 7.0)), ("relu_", ()),
                       ("leaky_relu_", ()), ("rrelu_", (0.25, 0.25))):
        x = torch.tensor([-1.5, 0.5, 2.0])
        show(name, getattr(F, name)(x, *args) is x, near(x))
    x = wave(torch, 1, 1, 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        show(near(F.upsample(x, 3)), near(F.upsample_nearest(x, 3)), near(F.upsample_bilinear(x, 3)))
    show(near(F.conv_transpose3d(wave(torch, 1, 1, 2, 2, 2), wave(torch, 1, 1, 2, 2, 2))).sum().round(decimals=4))
    show([t.shape for t in torch.broadcast_tensors(torch.ones(2, 1), torch.ones(3))], torch.ones(1, 2).expand_as(torch.ones(3, 2)))
    show(torch.ones(4).view_as(torch.ones(2, 2)), near(torch.kaiser_window(4)), torch.feature_alpha_dropout_(torch.ones(2, 2), 0.5, False))
    torch.set_default_device("cpu")
    show(torch.ones(1))


def case_data_and_the_rest(torch, show, attempt):
    data = torch.utils.data

    class Squares(data.Dataset):
        def __getitem__(self, k):
            return k * k

        def __len__(self):
            return 4

    class Counting(data.IterableDataset):
        def __iter__(self):
            return iter(range(3))

    show(list(data.DataLoader(Squares(), 2)), list(data.DataLoader(Counting(), 2)), data.default_collate([1, 2]))
    show(list(data.BatchSampler(data.SequentialSampler(range(3)), 2, False)), list(data.SubsetRandomSampler([5, 7])))
    show(data.RandomSampler(range(3)).num_samples, isinstance(data.SequentialSampler([]), data.Sampler), data.Subset([4, 5, 6], [2])[0])
    rnn = torch.nn.utils.rnn
    packed = rnn.pack_padded_sequence(torch.arange(6.0).reshape(3, 2), torch.tensor([3, 1]), enforce_sorted=False)
    show(isinstance(packed, rnn.PackedSequence), packed.data, rnn.invert_permutation(torch.tensor([2, 0, 1])))
    a = torch.tensor([[2.0, 1.0], [0.0, 4.0]])
    show(torch.linalg.solve_ex(a, torch.ones(2, 1)), torch.optim.swa_utils.get_swa_avg_fn()(torch.tensor(1.0), torch.tensor(3.0), 1))
    schedule = torch.optim.lr_scheduler
    found = schedule.ConstantLR(torch.optim.SGD([torch.nn.Parameter(a)], lr=1.0))
    show(isinstance(found, schedule.LRScheduler), found.get_last_lr(), isinstance(torch.autograd.graph.GradientEdge, type))
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2) * 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        show(near(torch.nn.utils.clip_grad_norm(p, 1.0)), near(p.grad))
    attempt(lambda: torch.ones(1).is_coalesced())

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            return 3 * ctx.saved_tensors[0] ** 2 * g

    x = torch.tensor(2.0, requires_grad=True)
    show(torch.autograd.grad(Cube.apply(x), x))
